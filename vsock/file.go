package vsock

import (
	"net"
	"os"
	"syscall"
)

// filer is a socket that is a file of the operating system: one of the system's own
// stack, or of one that is made of the system's sockets.
type filer interface {
	syscall.Conn
	File() (*os.File, error)
}

var (
	_ syscall.Conn = (*Conn)(nil)
	_ syscall.Conn = (*Listener)(nil)
)

// File gives a copy of the connection's descriptor, to be handed to another process.
// Closing one does not close the other. Of package hybrid it is a Unix socket.
// ErrNotSupported: the stack's sockets are none of the system's.
func (c *Conn) File() (*os.File, error) {
	f, err := socketFile(c.s)
	return f, c.op("file", err)
}

// SyscallConn gives the descriptor itself for system calls of one's own.
// ErrNotSupported: the stack's sockets are none of the system's.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	rc, err := socketRawConn(c.s)
	return rc, c.op("syscall", err)
}

// File gives a copy of the listener's descriptor, as Conn.File does.
func (l *Listener) File() (*os.File, error) {
	f, err := socketFile(l.s)
	return f, opError("file", nil, l.addr, err)
}

// SyscallConn gives the listener's descriptor, as Conn.SyscallConn does.
func (l *Listener) SyscallConn() (syscall.RawConn, error) {
	rc, err := socketRawConn(l.s)
	return rc, opError("syscall", nil, l.addr, err)
}

func socketFile(s Socket) (*os.File, error) {
	if f, ok := s.(filer); ok {
		return f.File()
	}
	return nil, ErrNotSupported
}

func socketRawConn(s Socket) (syscall.RawConn, error) {
	if f, ok := s.(filer); ok {
		return f.SyscallConn()
	}
	return nil, ErrNotSupported
}

// FileConn makes a connection of a copy of f, which is a connected socket of the
// system's own stack, such as standard input of a program that inetd or systemd started
// for a connection. The caller closes f. EAFNOSUPPORT: it is a socket of another
// family; ENOTSOCK: it is none.
func FileConn(f *os.File) (*Conn, error) {
	s, err := fileSocket(f)
	if err != nil {
		return nil, fileError(f, err)
	}
	c, err := NewConn(s)
	if err != nil {
		_ = s.Close()
		return nil, fileError(f, err)
	}
	return c, nil
}

// FileListener makes a listener of a copy of f, which is a socket of the system's own
// stack that listens. The caller closes f. EINVAL: it does not listen, and else the
// errors are those of FileConn. SystemdListeners has those of socket activation.
func FileListener(f *os.File) (*Listener, error) {
	s, err := fileSocket(f)
	if err != nil {
		return nil, fileError(f, err)
	}
	local, err := s.LocalAddr()
	if err == nil && !fileListens(s) {
		err = syscall.EINVAL
	}
	if err != nil {
		_ = s.Close()
		return nil, fileError(f, err)
	}
	return &Listener{s: s, addr: local}, nil
}

func fileError(f *os.File, err error) error {
	return &net.OpError{Op: "file", Net: "vsock", Err: &os.PathError{Op: "take", Path: f.Name(), Err: err}}
}
