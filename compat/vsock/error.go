package vsock

import (
	"errors"
	"io"
	"net"
	"os"
)

// network is what addresses and errors say of themselves.
const network = "vsock"

// Operations, as net.OpError names them.
const (
	opAccept      = "accept"
	opClose       = "close"
	opDial        = "dial"
	opListen      = "listen"
	opRawControl  = "raw-control"
	opRawRead     = "raw-read"
	opRawWrite    = "raw-write"
	opRead        = "read"
	opSet         = "set"
	opSyscallConn = "syscall-conn"
	opWrite       = "write"
)

// opError is the error of an operation in the form that programs take apart:
// *net.OpError around a bare errno for reading and writing, or around an
// *os.SyscallError for other calls. The end of a stream is io.EOF.
func opError(op string, err error, local, remote *Addr) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	e := &net.OpError{Op: op, Net: network, Err: err}
	switch op {
	case opAccept, opListen, opRawControl, opSet, opSyscallConn:
		e.Addr = addrOrNil(local)
	default:
		e.Source, e.Addr = addrOrNil(local), addrOrNil(remote)
	}
	return e
}

// addrOrNil keeps a nil pointer from becoming an interface that is not nil.
func addrOrNil(a *Addr) net.Addr {
	if a == nil {
		return nil
	}
	return a
}

// call names the system call of an error, if it is a system's.
func call(name string, err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return os.NewSyscallError(name, err)
}
