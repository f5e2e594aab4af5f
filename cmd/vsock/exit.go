package main

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
)

// Exit statuses. exitHelp tells users the same.
const (
	exitOK          = 0
	exitFailed      = 1   // what was asked for did not succeed
	exitUsage       = 2   // the command line is wrong
	exitUnreachable = 3   // nobody is there: no connection was made
	exitCut         = 4   // a connection ended early, and data may be missing
	exitInterrupted = 130 // a signal came before the work was done
)

// exitHelp is in the help of the tool and in its man pages.
const exitHelp = `Exit status:

  0    all is done
  1    it failed
  2    the command line is wrong
  3    nobody is there: no connection was made
  4    a connection ended early, so that data may be missing
  130  interrupted (SIGINT, SIGTERM) before the work was done`

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
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &s):
		return s.status
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
