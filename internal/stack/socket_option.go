package stack

import (
	"errors"
	"net"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// This file has the calls of Socket that set how it behaves.

// SetReadDeadline implements vsock.Socket.
func (s *Socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.readDeadline = t
	if l := s.listener.Load(); l != nil {
		l.setDeadline(t)
	}
	if d := s.datagram.Load(); d != nil {
		d.mu.Lock()
		d.deadline.set(t)
		d.mu.Unlock()
	}
	if c := s.conn.Load(); c != nil {
		c.setReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements vsock.Socket. Sending a datagram never waits.
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

// SetNonblock implements vsock.Socket.
func (s *Socket) SetNonblock(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.nonblock.Store(on)
	return nil
}

// SetOption implements vsock.Socket. Options of a connection that is up have
// been negotiated, and stay.
func (s *Socket) SetOption(o vsock.Option, v uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	c := s.conn.Load()
	switch o {
	case vsock.ReceiveLowWater:
		if c != nil {
			c.setLowWater(v)
		}
	case vsock.PendingError, vsock.Unread, vsock.Unsent:
		return syscall.EINVAL
	default:
		if c != nil {
			return syscall.EISCONN
		}
	}
	if err := s.opt.set(o, v); err != nil {
		return err
	}
	if l := s.listener.Load(); l != nil {
		s.st.mu.Lock()
		l.opt = s.opt
		s.st.mu.Unlock()
	}
	return nil
}

// Option implements vsock.Socket.
func (s *Socket) Option(o vsock.Option) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	c, d := s.conn.Load(), s.datagram.Load()
	switch o {
	case vsock.BufferSize:
		if c != nil {
			return c.bufferSize(), nil
		}
	case vsock.PendingError:
		if c != nil {
			return c.takeError(), nil
		}
		return 0, nil
	case vsock.Unread:
		switch {
		case c != nil:
			return c.unread(), nil
		case d != nil:
			return uint64(d.unread()), nil
		}
		return 0, nil
	case vsock.Unsent:
		if c != nil {
			return c.unsent(), nil
		}
		return 0, nil
	}
	return s.opt.get(o)
}

// bufferSize is what was negotiated; while the connection is not made, what is
// proposed, as it was set.
func (c *conn) bufferSize() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connecting {
		return c.opt.size
	}
	return uint64(c.bufAlloc)
}

func (c *conn) setLowWater(v uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opt.lowWater = max(v, 1)
	c.watchers.fire()
}

// takeError gives the errno of the failure, once.
func (c *conn) takeError() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.pendErr
	c.pendErr = nil
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		errno = syscall.ECONNABORTED
	}
	return uint64(errno)
}

func (c *conn) unread() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x, ok := c.messages.first(); ok {
		return uint64(x.n)
	}
	if c.messages.len() > 0 {
		return 0
	}
	return uint64(c.rx.len())
}

// unsent counts by the peer's last word: it may have taken more.
func (c *conn) unsent() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != established {
		return 0
	}
	return uint64(c.sent - c.peerFwd)
}
