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

// Socket is a socket of a Stack: unbound, bound, a listener, a connection or a
// datagram socket. It implements vsock.Socket.
type Socket struct {
	st  *Stack
	typ vsock.Type

	// One at most of these is set, and once only; but a connect that failed takes
	// its connection away.
	conn     atomic.Pointer[conn]
	listener atomic.Pointer[listener]
	datagram atomic.Pointer[datagram]

	nonblock atomic.Bool

	mu            sync.Mutex
	opt           options
	bound         bool
	local         vsock.Addr // as bound: CIDAny stays
	owned         bool       // the socket holds its port itself
	closed        bool
	readDeadline  time.Time // for the listener or connection to come
	writeDeadline time.Time
	watchers      watchers // of a socket that is nothing yet
}

var _ vsock.Socket = (*Socket)(nil)

// Type implements vsock.Socket.
func (s *Socket) Type() vsock.Type { return s.typ }

// wire is the type of the socket's packets.
func (s *Socket) wire() packet.Type {
	if s.typ == vsock.Seqpacket {
		return packet.TypeSeqpacket
	}
	return packet.TypeStream
}

// ports are those of the socket's type. It needs the stack's mu.
func (s *Socket) ports() *ports {
	if s.typ == vsock.Datagram {
		return &s.st.datagrams
	}
	return &s.st.ports
}

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
	case a.Port < vsock.FirstUnprivilegedPort && s.st.unprivileged:
		return syscall.EACCES
	}
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	if s.st.closed {
		return errStackClosed
	}
	port, err := s.ports().bind(a.Port)
	if err != nil {
		return err
	}
	s.bound, s.owned, s.local = true, true, vsock.Addr{CID: a.CID, Port: port}
	if s.typ == vsock.Datagram {
		d := newDatagram(s.st, s.local, s.opt)
		d.deadline.set(s.readDeadline)
		s.ports().get(port).datagram = d
		s.datagram.Store(d)
	}
	return nil
}

// unbind gives the port up, unless connections hold it still.
func (s *Socket) unbind() {
	if s.owned {
		s.st.mu.Lock()
		s.ports().unbind(s.local.Port)
		s.st.mu.Unlock()
		s.owned = false
	}
}

// Listen implements vsock.Socket. On a listener, it sets the backlog anew.
func (s *Socket) Listen(backlog int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listener.Load()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.typ == vsock.Datagram:
		return syscall.EOPNOTSUPP
	case !s.bound || s.conn.Load() != nil:
		return syscall.EINVAL
	case l != nil:
		l.setBacklog(backlog)
		return nil
	}
	l = newListener(s.local.CID, s.wire(), s.opt, backlog)
	l.setDeadline(s.readDeadline)
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	if s.st.closed {
		return errStackClosed
	}
	s.ports().get(s.local.Port).listener = l
	s.listener.Store(l)
	s.watchers.fire()
	return nil
}

// Accept implements vsock.Socket.
func (s *Socket) Accept() (vsock.Socket, vsock.Addr, error) {
	s.mu.Lock()
	l, gone := s.listener.Load(), s.closed
	s.mu.Unlock()
	switch {
	case gone:
		return nil, vsock.Addr{}, net.ErrClosed
	case s.typ == vsock.Datagram:
		return nil, vsock.Addr{}, syscall.EOPNOTSUPP
	case l == nil:
		return nil, vsock.Addr{}, syscall.EINVAL
	}
	c, err := l.accept(!s.nonblock.Load())
	if err != nil {
		return nil, vsock.Addr{}, err
	}
	return c.socket(), c.flow.remote, nil
}

// socket makes the socket of a connection that was accepted.
func (c *conn) socket() *Socket {
	s := &Socket{st: c.st, typ: vsock.Stream, opt: c.opt, bound: true, local: c.flow.local}
	if c.typ == packet.TypeSeqpacket {
		s.typ = vsock.Seqpacket
	}
	s.conn.Store(c)
	return s
}

// SetLinger says how Close ends the connection: with 0 by a reset, at once; else in
// good order, which never makes Close wait.
func (s *Socket) SetLinger(sec int) error {
	c := s.conn.Load()
	if c == nil {
		return syscall.ENOTCONN
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abrupt = sec == 0
	return nil
}

// Connect implements vsock.Socket.
func (s *Socket) Connect(ctx context.Context, a vsock.Addr) error {
	if s.typ == vsock.Datagram {
		return s.connectDatagram(a)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if c := s.conn.Load(); c != nil && !c.failureTold() {
		defer s.mu.Unlock()
		return s.reconnect(c)
	}
	c, err := s.open(a)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	c.connect()
	if s.nonblock.Load() && c.goesOn() {
		return syscall.EINPROGRESS
	}
	if err := c.waitConnected(ctx); err != nil {
		s.conn.CompareAndSwap(c, nil) // another Connect may try again
		return err
	}
	return nil
}

// reconnect is Connect where a connection is there. It tells how that went, or
// goes, and lets go of one that failed. It needs mu.
func (s *Socket) reconnect(c *conn) error {
	if s.closed {
		return net.ErrClosed
	}
	if !c.isDecided() {
		return syscall.EALREADY
	}
	if err := c.outcome(); err != nil {
		s.conn.CompareAndSwap(c, nil)
		return err
	}
	return syscall.EISCONN
}

// open makes the connection, not connected yet. It needs mu.
func (s *Socket) open(a vsock.Addr) (*conn, error) {
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.listener.Load() != nil:
		return nil, syscall.EINVAL
	case a.CID == vsock.CIDAny || a.Port == vsock.PortAny:
		return nil, syscall.EINVAL
	}
	if !s.bound {
		if err := s.bind(vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}); err != nil {
			return nil, err
		}
	}
	c := newConn(s.st, flow{local: s.st.localTo(s.local, a.CID), remote: a}, s.wire(), s.opt)
	c.setReadDeadline(s.readDeadline)
	c.setWriteDeadline(s.writeDeadline)
	if err := s.st.add(c); err != nil {
		return nil, err
	}
	s.conn.Store(c)
	s.watchers.fire()
	return c, nil
}

// localTo is the address that a socket bound to a has towards a CID.
func (st *Stack) localTo(a vsock.Addr, cid uint32) vsock.Addr {
	if a.CID == vsock.CIDAny {
		if a.CID = st.cid; cid == vsock.CIDLocal {
			a.CID = vsock.CIDLocal
		}
	}
	return a
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

func (s *Socket) connectDatagram(a vsock.Addr) error {
	if s.isClosed() {
		return net.ErrClosed
	}
	d, err := s.boundDatagram()
	if err != nil {
		return err
	}
	switch {
	case a.CID == vsock.CIDAny && a.Port == vsock.PortAny:
		d.connect(nil)
	case a.CID == vsock.CIDAny || a.Port == vsock.PortAny:
		return syscall.EINVAL
	default:
		d.connect(&a)
	}
	return nil
}

// boundDatagram is the datagram socket, bound now if it was not.
func (s *Socket) boundDatagram() (*datagram, error) {
	if d := s.datagram.Load(); d != nil {
		return d, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.bound {
		if err := s.bind(vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}); err != nil {
			return nil, err
		}
	}
	return s.datagram.Load(), nil
}

func (s *Socket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close implements vsock.Socket.
func (s *Socket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	s.unbind()
	s.watchers.fire()
	s.mu.Unlock()
	if l := s.listener.Load(); l != nil {
		l.close()
	}
	if d := s.datagram.Load(); d != nil {
		d.close()
	}
	if c := s.conn.Load(); c != nil {
		return c.close()
	}
	return nil
}

// LocalAddr implements vsock.Socket.
func (s *Socket) LocalAddr() (vsock.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	switch {
	case s.closed:
		return vsock.Addr{}, net.ErrClosed
	case c != nil:
		return c.flow.local, nil
	case !s.bound:
		return vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}, nil
	}
	return s.st.localTo(s.local, vsock.CIDAny), nil
}

// RemoteAddr implements vsock.Socket.
func (s *Socket) RemoteAddr() (vsock.Addr, error) {
	if s.isClosed() {
		return vsock.Addr{}, net.ErrClosed
	}
	if d := s.datagram.Load(); d != nil {
		return d.remote()
	}
	c := s.conn.Load()
	if c == nil {
		return vsock.Addr{}, syscall.ENOTCONN
	}
	if !c.wasConnected() {
		return vsock.Addr{}, syscall.ENOTCONN
	}
	return c.flow.remote, nil
}
