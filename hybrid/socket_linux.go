package hybrid

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// socket is a stream socket of a Stack: nothing yet, bound, a listener, connecting
// or a connection. The Unix socket comes when it is one of the latter.
type socket struct {
	st       *Stack
	nonblock atomic.Bool

	// One at most of these is set, and once only.
	conn     atomic.Pointer[conn]
	listener atomic.Pointer[unixsocket.Listener]

	mu            sync.Mutex
	opt           options
	bound         bool
	port          uint32 // that the socket is bound to
	closed        bool
	attempt       *attempt  // to connect, while it lasts
	failed        error     // of a non-blocking Connect, until it is told
	readDeadline  time.Time // for the listener or connection to come
	writeDeadline time.Time
	watches       map[*watch]struct{}
}

var _ vsock.Socket = (*socket)(nil)

func (st *Stack) newSocket() (vsock.Socket, error) {
	s := &socket{st: st, opt: defaultOptions()}
	if err := st.enter(s); err != nil {
		return nil, err
	}
	return s, nil
}

// Type implements vsock.Socket.
func (s *socket) Type() vsock.Type { return vsock.Stream }

// Bind implements vsock.Socket. It takes the port among the stack's sockets; that
// no other process has it is found out by Listen.
func (s *socket) Bind(a vsock.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.bound || s.attempt != nil || s.conn.Load() != nil:
		return syscall.EINVAL
	case a.CID != vsock.CIDAny && a.CID != vsock.CIDHost:
		return syscall.EADDRNOTAVAIL
	}
	port, err := s.st.bind(a.Port)
	if err != nil {
		return err
	}
	s.bound, s.port = true, port
	return nil
}

// Listen implements vsock.Socket. It makes the Unix socket of the port.
func (s *socket) Listen(backlog int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case !s.bound:
		return syscall.EINVAL
	}
	if l := s.listener.Load(); l != nil {
		return setBacklog(l, backlog)
	}
	l, err := unixsocket.Listen(hostPath(s.st.path, s.port))
	if err != nil {
		return err
	}
	if err := setBacklog(l, backlog); err != nil {
		_ = l.Close()
		return err
	}
	_ = l.SetDeadline(s.readDeadline)
	s.listener.Store(l)
	s.changed()
	return nil
}

// Accept implements vsock.Socket.
func (s *socket) Accept() (vsock.Socket, vsock.Addr, error) {
	s.mu.Lock()
	l, port, closed, opt := s.listener.Load(), s.port, s.closed, s.opt
	s.mu.Unlock()
	switch {
	case closed:
		return nil, vsock.Addr{}, net.ErrClosed
	case l == nil:
		return nil, vsock.Addr{}, syscall.EINVAL
	}
	c, err := accept(l, !s.nonblock.Load())
	if err != nil {
		return nil, vsock.Addr{}, bare(err)
	}
	cn := &conn{
		UnixConn: c,
		local:    vsock.Addr{CID: vsock.CIDHost, Port: port},
		remote:   vsock.Addr{CID: s.st.guest, Port: vsock.PortAny},
	}
	a := &socket{st: s.st, opt: opt}
	a.conn.Store(cn)
	if err := s.st.enter(a); err != nil {
		_ = c.Close()
		return nil, vsock.Addr{}, err
	}
	return a, cn.remote, nil
}

// Shutdown implements vsock.Socket.
func (s *socket) Shutdown(how vsock.How) error {
	if how&^vsock.ShutBoth != 0 || how == 0 {
		return syscall.EINVAL
	}
	c, err := s.connected()
	if err != nil {
		return err
	}
	return c.shutdown(how)
}

// Close implements vsock.Socket.
func (s *socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	if s.attempt != nil {
		s.attempt.cancel()
	}
	l, c := s.listener.Load(), s.conn.Load()
	s.mu.Unlock()

	var err error
	if l != nil {
		err = l.Close()
	}
	if c != nil {
		err = c.Close()
	}
	if s.bound { // not changed any more
		s.st.unbind(s.port)
	}
	s.st.leave(s)
	s.mu.Lock()
	s.changed()
	s.mu.Unlock()
	return bare(err)
}

// connected is the connection, if there is one.
func (s *socket) connected() (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case c == nil:
		return nil, syscall.ENOTCONN
	}
	return c, nil
}

// LocalAddr implements vsock.Socket.
func (s *socket) LocalAddr() (vsock.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	switch {
	case s.closed:
		return vsock.Addr{}, net.ErrClosed
	case c != nil:
		return c.local, nil
	case !s.bound:
		return vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}, nil
	}
	return vsock.Addr{CID: vsock.CIDHost, Port: s.port}, nil
}

// RemoteAddr implements vsock.Socket.
func (s *socket) RemoteAddr() (vsock.Addr, error) {
	c, err := s.connected()
	if err != nil {
		return vsock.Addr{}, err
	}
	return c.remote, nil
}
