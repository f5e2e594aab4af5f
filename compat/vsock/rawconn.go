package vsock

import (
	"net"
	"sync/atomic"
	"syscall"

	"vsockets.dev/vsock"
)

// rawConn gives the errors of a descriptor the form of all others.
type rawConn struct {
	rc            syscall.RawConn
	closed        *atomic.Bool // its owner's
	local, remote *Addr
}

func rawConnOf(s vsock.Socket, closed *atomic.Bool, local, remote *Addr) (syscall.RawConn, error) {
	sc, ok := s.(syscall.Conn)
	if !ok {
		return nil, opError(opSyscallConn, vsock.ErrNotSupported, local, remote)
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, opError(opSyscallConn, call("syscallconn", err), local, remote)
	}
	return &rawConn{rc, closed, local, remote}, nil
}

func (c *rawConn) Control(f func(fd uintptr)) error {
	return c.opError(opRawControl, c.rc.Control(f))
}

func (c *rawConn) Read(f func(fd uintptr) (done bool)) error {
	return c.opError(opRawRead, c.rc.Read(f))
}

func (c *rawConn) Write(f func(fd uintptr) (done bool)) error {
	return c.opError(opRawWrite, c.rc.Write(f))
}

// opError knows a closed descriptor by its owner, since package os has an error for it
// that only its text tells.
func (c *rawConn) opError(op string, err error) error {
	if err != nil && c.closed.Load() {
		err = net.ErrClosed
	}
	return opError(op, err, c.local, c.remote)
}
