package vsock

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// refusedError is a connection that the other side answered with a reset. Linux
// reports ECONNRESET for it and VMCI ECONNREFUSED; both match.
type refusedError struct{}

func (refusedError) Error() string {
	return "connection refused (no listener on that port, its backlog is full, no such CID, or a policy denies it)"
}

func (refusedError) Unwrap() []error { return []error{syscall.ECONNREFUSED, syscall.ECONNRESET} }

// connectError makes the error of a failed Connect speak.
func connectError(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) {
		return refusedError{}
	}
	return err
}

// opError wraps the error of a socket call as package net does. io.EOF stays
// bare, since readers compare with it.
func opError(op string, source, addr net.Addr, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "vsock", Source: source, Addr: addr, Err: err}
}
