package testguest

import (
	"fmt"
	"os"
	"os/exec"
)

// Programs of others that tests run in guests. The variables name the files, which
// must be there then. `make test` sets them.
const (
	EnvKernelTest = "VSOCKETS_KERNELTEST" // vsock_test, from Linux's source
	EnvSocat      = "VSOCKETS_SOCAT"      // socat
)

// RequireProgram gives the path of a program of others: the one that the environment
// variable names, and if it is not set, the one of that name in PATH. Where there is
// none, it skips the test, or fails it if the variable is set.
func RequireProgram(t TB, env, name string) string {
	t.Helper()
	path, err := findProgram(env, name)
	switch {
	case err == nil:
	case os.Getenv(env) != "":
		t.Fatalf("%v", err)
	default:
		t.Skipf("%v", err)
	}
	return path
}

func findProgram(env, name string) (string, error) {
	if path := os.Getenv(env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s names the program %s: %w", env, name, err)
		}
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no %s, neither named by %s nor in PATH: `make test` gets it: %w", name, env, err)
	}
	return path, nil
}
