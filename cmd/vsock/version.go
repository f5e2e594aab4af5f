package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// versionFlag says which version this is, and ends the program. Unlike kong's own, it asks
// for that only then.
type versionFlag bool

// BeforeReset is called where the flag is given.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	if _, err := fmt.Fprintln(app.Stdout, version()); err != nil {
		return err
	}
	app.Exit(exitOK)
	return nil
}

// version is what the tool was built from: a release, a commit, or neither.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "vsock, of an unknown version"
	}
	return fmt.Sprintf("vsock %s, %s %s/%s", info.Main.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
