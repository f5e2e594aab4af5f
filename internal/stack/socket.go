package stack

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// Socket is a socket of a Stack: unbound, bound, a listener or a connection.
type Socket struct {
	st   *Stack
	conn atomic.Pointer[conn] // set once, at Connect or before Accept returns it

	mu            sync.Mutex
	opt           options
	bound         bool
	local         vsock.Addr // as bound: CIDAny stays
	owned         bool       // the socket holds its port itself
	listener      *listener
	closed        bool
	readDeadline  time.Time // for the listener or connection to come
	writeDeadline time.Time
}

var _ vsock.Socket = (*Socket)(nil)

// Bind implements vsock.Socket.
func (s *Socket) Bind(a vsock.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bind(a)
}

func (s *Socket) bind(a vsock.Addr) error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.bound || s.conn.Load() != nil:
		return syscall.EINVAL
	case a.CID != vsock.CIDAny && a.CID != s.st.cid && a.CID != vsock.CIDLocal:
		return syscall.EADDRNOTAVAIL
	}
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	if s.st.closed {
		return errStackClosed
	}
	port, err := s.st.ports.bind(a.Port)
	if err != nil {
		return err
	}
	s.bound, s.owned, s.local = true, true, vsock.Addr{CID: a.CID, Port: port}
	return nil
}

// unbind gives the port up, unless connections hold it still.
func (s *Socket) unbind() {
	if s.owned {
		s.st.mu.Lock()
		s.st.ports.unbind(s.local.Port)
		s.st.mu.Unlock()
		s.owned = false
	}
}

// Listen implements vsock.Socket. On a listener, it sets the backlog anew.
func (s *Socket) Listen(backlog int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case !s.bound || s.conn.Load() != nil:
		return syscall.EINVAL
	case s.listener != nil:
		s.listener.setBacklog(backlog)
		return nil
	}
	l := newListener(s.local.CID, s.opt, backlog)
	l.setDeadline(s.readDeadline)
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	if s.st.closed {
		return errStackClosed
	}
	s.st.ports.get(s.local.Port).listener = l
	s.listener = l
	return nil
}

// Accept implements vsock.Socket.
func (s *Socket) Accept() (vsock.Socket, vsock.Addr, error) {
	s.mu.Lock()
	l, gone := s.listener, s.closed
	s.mu.Unlock()
	switch {
	case gone:
		return nil, vsock.Addr{}, net.ErrClosed
	case l == nil:
		return nil, vsock.Addr{}, syscall.EINVAL
	}
	c, err := l.accept()
	if err != nil {
		return nil, vsock.Addr{}, err
	}
	a := &Socket{st: s.st, opt: l.opt, bound: true, local: c.flow.local}
	a.opt.size = uint64(c.bufAlloc)
	a.conn.Store(c)
	return a, c.flow.remote, nil
}

// Connect implements vsock.Socket.
func (s *Socket) Connect(ctx context.Context, a vsock.Addr) error {
	s.mu.Lock()
	c, err := s.open(a)
	timeout := s.opt.timeout
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.connect(ctx, timeout); err != nil {
		s.mu.Lock()
		s.conn.CompareAndSwap(c, nil) // another Connect may try again
		s.mu.Unlock()
		return err
	}
	return nil
}

// open makes the connection, not connected yet. It needs mu.
func (s *Socket) open(a vsock.Addr) (*conn, error) {
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.conn.Load() != nil:
		return nil, syscall.EISCONN
	case s.listener != nil:
		return nil, syscall.EINVAL
	case a.CID == vsock.CIDAny || a.Port == vsock.PortAny:
		return nil, syscall.EINVAL
	}
	if !s.bound {
		if err := s.bind(vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}); err != nil {
			return nil, err
		}
	}
	local := s.local
	if local.CID == vsock.CIDAny {
		local.CID = s.st.cid
		if a.CID == vsock.CIDLocal {
			local.CID = vsock.CIDLocal
		}
	}
	c := newConn(s.st, flow{local: local, remote: a}, s.opt.bufAlloc())
	if err := s.st.add(c); err != nil {
		return nil, err
	}
	c.setDeadlines(s.readDeadline, s.writeDeadline)
	s.conn.Store(c)
	return c, nil
}

// add enters a connection that this side opens.
func (st *Stack) add(c *conn) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.closed:
		return errStackClosed
	case len(st.conns) >= MaxConns:
		return syscall.ENOBUFS
	case st.conns[c.flow] != nil:
		return syscall.EADDRINUSE
	}
	st.conns[c.flow] = c
	st.ports.hold(c.flow.local.Port)
	return nil
}

// connection gives the connection that data calls work on.
func (s *Socket) connection() (*conn, error) {
	if c := s.conn.Load(); c != nil {
		return c, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	return nil, syscall.ENOTCONN
}

// Recv implements vsock.Socket.
func (s *Socket) Recv(p []byte) (int, error) {
	c, err := s.connection()
	if err != nil {
		return 0, err
	}
	return c.recv(p)
}

// Send implements vsock.Socket.
func (s *Socket) Send(p []byte) (int, error) {
	c, err := s.connection()
	if err != nil {
		return 0, err
	}
	return c.send(p)
}

// Shutdown implements vsock.Socket.
func (s *Socket) Shutdown(how vsock.How) error {
	if how&^vsock.ShutBoth != 0 || how == 0 {
		return syscall.EINVAL
	}
	c, err := s.connection()
	if err != nil {
		return err
	}
	var flags uint32
	if how&vsock.ShutRead != 0 {
		flags |= packet.ShutdownReceive
	}
	if how&vsock.ShutWrite != 0 {
		flags |= packet.ShutdownSend
	}
	return c.shutdown(flags)
}

// Close implements vsock.Socket.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	l, c := s.listener, s.conn.Load()
	s.unbind()
	s.mu.Unlock()
	if l != nil {
		l.close()
	}
	if c != nil {
		return c.close()
	}
	return nil
}

// LocalAddr implements vsock.Socket.
func (s *Socket) LocalAddr() (vsock.Addr, error) {
	if c := s.conn.Load(); c != nil {
		return c.flow.local, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.bound {
		return vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}, nil
	}
	a := s.local
	if a.CID == vsock.CIDAny {
		a.CID = s.st.cid
	}
	return a, nil
}

// RemoteAddr implements vsock.Socket.
func (s *Socket) RemoteAddr() (vsock.Addr, error) {
	c := s.conn.Load()
	if c == nil {
		return vsock.Addr{}, syscall.ENOTCONN
	}
	return c.flow.remote, nil
}

// SetReadDeadline implements vsock.Socket.
func (s *Socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.readDeadline = t
	if s.listener != nil {
		s.listener.setDeadline(t)
	}
	if c := s.conn.Load(); c != nil {
		c.setReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements vsock.Socket.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.writeDeadline = t
	if c := s.conn.Load(); c != nil {
		c.setWriteDeadline(t)
	}
	return nil
}

// SetOption implements vsock.Socket. Options of a connection that is up have
// been negotiated, and stay.
func (s *Socket) SetOption(o vsock.Option, v uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.conn.Load() != nil:
		return syscall.EISCONN
	}
	if err := s.opt.set(o, v); err != nil {
		return err
	}
	if s.listener != nil {
		s.st.mu.Lock()
		s.listener.opt = s.opt
		s.st.mu.Unlock()
	}
	return nil
}

// Option implements vsock.Socket.
func (s *Socket) Option(o vsock.Option) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opt.get(o)
}
