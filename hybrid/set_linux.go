package hybrid

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/vsock"
)

// This file has the calls of socket that set how it behaves.

// SetReadDeadline implements vsock.Socket.
func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.readDeadline = t
	if l := s.listener.Load(); l != nil {
		return bare(l.SetDeadline(t))
	}
	if c := s.conn.Load(); c != nil {
		return bare(c.SetReadDeadline(t))
	}
	return nil
}

// SetWriteDeadline implements vsock.Socket.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.writeDeadline = t
	if c := s.conn.Load(); c != nil {
		return c.setWriteDeadline(t)
	}
	return nil
}

// SetNonblock implements vsock.Socket.
func (s *socket) SetNonblock(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.nonblock.Store(on)
	return nil
}

// SetOption implements vsock.Socket.
func (s *socket) SetOption(o vsock.Option, v uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	err := s.opt.set(o, v, s.attempt != nil || s.conn.Load() != nil)
	if err == nil && o == vsock.ReceiveLowWater {
		s.changed()
	}
	return err
}

// Option implements vsock.Socket.
func (s *socket) Option(o vsock.Option) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	c := s.conn.Load()
	switch {
	case o == vsock.PendingError && c != nil:
		return c.number(func(fd int) (int, error) { return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) })
	case o == vsock.PendingError:
		err := s.failed
		s.failed = nil
		return errno(err), nil
	case o == vsock.Unread && c != nil:
		return c.unread()
	case o == vsock.Unread:
		return 0, nil
	}
	return s.opt.get(o)
}
