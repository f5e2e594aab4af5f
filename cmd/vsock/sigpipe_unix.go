//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// keepSIGPIPE has a closed standard output be an error of writing, which is told and
// has a status, and not the program's silent end. Commands that are started have the
// signal as usual.
func keepSIGPIPE() (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}
