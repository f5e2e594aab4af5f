package testguest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// Build builds the program of the package with import path pkg, static, into
// dir, and gives its path.
func Build(ctx context.Context, dir, pkg string) (string, error) {
	return goTool(ctx, filepath.Join(dir, path.Base(pkg)), "build", pkg)
}

// BuildTest builds the test program of the package with import path pkg,
// static, into dir, and gives its path.
func BuildTest(ctx context.Context, dir, pkg string) (string, error) {
	return goTool(ctx, filepath.Join(dir, path.Base(pkg)+".test"), "test", pkg, "-c")
}

// goTool never builds for the race detector, whatever GOFLAGS says: its runtime
// wants an address space that User Mode Linux does not have.
func goTool(ctx context.Context, out, verb, pkg string, flags ...string) (string, error) {
	args := append([]string{verb, "-race=false", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testguest: go %s %s: %w\n%s", verb, pkg, err, msg)
	}
	return out, nil
}
