package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	vsockets "vsockets.dev"
	"vsockets.dev/internal/bench"
	"vsockets.dev/internal/switchd"
)

// Exit statuses. exitHelp tells users the same.
const (
	exitOK          = 0
	exitFailed      = 1   // what was asked for did not succeed
	exitUsage       = 2   // the command line is wrong
	exitUnreachable = 3   // nobody is there: no connection was made
	exitCut         = 4   // a connection or the output ended early, and data may be missing
	exitInterrupted = 130 // a signal came before the work was done
)

// exitHelp is in the help of the tool and in its man pages.
const exitHelp = `Exit status:

  0    all is done
  1    it failed
  2    the command line, or a file that it names as its configuration, is wrong
  3    nobody is there: no connection was made
  4    a connection ended early or the output could not be written, so that data may be missing
  130  interrupted (SIGINT, SIGTERM) before the work was done; a second signal ends it at once
  141  ended by SIGPIPE, because who read the output has gone: connect, listen, forward, ssh-proxy
       and capture end with 4 and say so`

// statusError is an error with an exit status of its own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// withStatus gives an error its exit status.
func withStatus(status int, err error) error {
	if err == nil {
		return nil
	}
	return &statusError{status, err}
}

// errInterrupted is what ends early by a signal.
var errInterrupted = withStatus(exitInterrupted, errors.New("interrupted"))

// exitStatus is the status that tells of an error.
func exitStatus(err error) int {
	var s *statusError
	var config bench.ConfigError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &s):
		return s.status
	case errors.As(err, &config), errors.Is(err, switchd.ErrInvalid), errors.Is(err, vsockets.ErrURI):
		return exitUsage
	case errors.Is(err, switchd.ErrNoSwitch):
		return exitUnreachable
	}
	return exitFailed
}

// unreachable says whether a connection may come about when it is tried again: the
// other side is not there, or not yet.
func unreachable(err error) bool {
	for _, e := range []error{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
		syscall.ENODEV, syscall.ENETDOWN, fs.ErrNotExist, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// dialStatus gives the error of a connection that did not come about its status.
func dialStatus(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case unreachable(err):
		return withStatus(exitUnreachable, err)
	}
	return err
}
