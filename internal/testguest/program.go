package testguest

import (
	"errors"
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

// EnvRequirePrograms says, if it is set, that all programs of others are in PATH or
// where sbin is. `make test` sets it where it has found or installed them.
const EnvRequirePrograms = "VSOCKETS_REQUIRE_PROGRAMS"

// sbin has sshd, and is in the PATH of root only.
const sbin = "/usr/sbin/"

// RequireProgram gives the path of a program of others: the one that the environment
// variable names, and if it is not set, or env is "", the one of that name in PATH.
// Where there is none, it skips the test, or fails it if the variable is set, which
// without one is EnvRequirePrograms.
func RequireProgram(t TB, env, name string) string {
	t.Helper()
	path, err := findProgram(env, name)
	switch {
	case err == nil:
	case os.Getenv(env) != "", env == "" && os.Getenv(EnvRequirePrograms) != "":
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
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath(sbin + name)
	}
	switch {
	case err == nil:
		return path, nil
	case env == "":
		return "", fmt.Errorf("no %s in PATH: `make test` gets it: %w", name, err)
	}
	return "", fmt.Errorf("no %s, neither named by %s nor in PATH: `make test` gets it: %w", name, env, err)
}
