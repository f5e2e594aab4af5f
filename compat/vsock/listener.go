package vsock

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// backlog is the most that Linux lets wait by itself, SOMAXCONN.
const backlog = 4096

// A Listener accepts connections: a net.Listener.
type Listener struct {
	s      vsock.Socket
	addr   *Addr
	closed atomic.Bool
}

var (
	_ net.Listener = (*Listener)(nil)
	_ syscall.Conn = (*Listener)(nil)
)

// Listen listens on a port of this system's own context ID. Port 0 is one that is free,
// which Addr then tells. A nil config is the default one.
func Listen(port uint32, cfg *Config) (*Listener, error) {
	cid, err := contextID(cfg.stack())
	if err != nil {
		return nil, opError(opListen, err, nil, nil)
	}
	return ListenContextID(cid, port, cfg)
}

// ListenContextID is Listen, with a context ID of the caller's choice.
func ListenContextID(contextID, port uint32, cfg *Config) (*Listener, error) {
	a := vsock.Addr{CID: contextID, Port: port}
	if port == 0 {
		a.Port = vsock.PortAny
	}
	l, err := listen(a, cfg.stack())
	if err != nil {
		return nil, opError(opListen, err, &Addr{ContextID: contextID, Port: port}, nil)
	}
	return l, nil
}

func listen(a vsock.Addr, stack vsock.Stack) (*Listener, error) {
	s, err := stack.Socket(vsock.Stream)
	if err != nil {
		return nil, call("socket", err)
	}
	if err := s.Bind(a); err != nil {
		_ = s.Close()
		return nil, call("bind", err)
	}
	if err := s.Listen(backlog); err != nil {
		_ = s.Close()
		return nil, call("listen", err)
	}
	local, err := s.LocalAddr()
	if err != nil {
		_ = s.Close()
		return nil, call("getsockname", err)
	}
	return &Listener{s: s, addr: fromAddr(local)}, nil
}

// FileListener makes a listener of a copy of an open file, which is a socket of the
// system's own stack that listens. The caller closes both.
func FileListener(f *os.File) (*Listener, error) {
	l, err := vsock.FileListener(f)
	if err != nil {
		var errno syscall.Errno
		switch {
		case errors.Is(err, syscall.EAFNOSUPPORT): // a socket of another family
			err = call("listen", syscall.EINVAL)
		case errors.As(err, &errno):
			err = call("listen", errno)
		}
		return nil, opError(opListen, err, nil, nil)
	}
	return &Listener{s: l.Socket(), addr: fromAddr(l.Addr().(vsock.Addr))}, nil
}

// Accept waits for the next connection, a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	s, remote, err := l.s.Accept()
	if err != nil {
		return nil, l.opError(opAccept, call("accept4", err))
	}
	return &Conn{s: s, local: l.addr, remote: fromAddr(remote)}, nil
}

// Addr is the address of the listener, an *Addr, the same at each call: it is not to be
// changed.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close stops listening. Closing it again does nothing.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.opError(opClose, call("close", l.s.Close()))
}

// SetDeadline limits Accept calls; the zero time is no limit.
func (l *Listener) SetDeadline(t time.Time) error {
	return l.opError(opSet, l.s.SetReadDeadline(t))
}

// SyscallConn gives the descriptor for system calls of one's own, where the stack is
// one of the system's.
func (l *Listener) SyscallConn() (syscall.RawConn, error) {
	return rawConnOf(l.s, &l.closed, l.addr, nil)
}

func (l *Listener) opError(op string, err error) error { return opError(op, err, l.addr, nil) }
