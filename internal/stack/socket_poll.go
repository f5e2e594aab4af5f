package stack

import (
	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// This file has what Poll and Select need of Socket.

// Ready implements vsock.Socket. A socket that is nothing yet is as Linux's: its
// Send does not wait, it fails.
func (s *Socket) Ready() vsock.Events {
	if s.isClosed() {
		return vsock.PollNval
	}
	if c := s.conn.Load(); c != nil {
		return c.ready()
	}
	if l := s.listener.Load(); l != nil {
		return l.ready()
	}
	if d := s.datagram.Load(); d != nil {
		return d.ready()
	}
	if s.typ == vsock.Datagram {
		return vsock.PollOut
	}
	return vsock.PollOut | vsock.PollHup
}

// ready tells what Recv and Send would do. It follows vsock_poll of Linux.
func (c *conn) ready() vsock.Events {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return vsock.PollNval
	}
	if c.state == connecting {
		return 0
	}
	var e vsock.Events
	readEnded := c.shut&packet.ShutdownReceive != 0 || c.peerShut&packet.ShutdownSend != 0
	if readEnded {
		e |= vsock.PollRdHup | vsock.PollIn
	}
	if c.state == closed {
		e |= vsock.PollHup | vsock.PollRdHup | vsock.PollIn
	}
	if c.shut == packet.ShutdownBoth || readEnded && c.shut&packet.ShutdownSend != 0 {
		e |= vsock.PollHup
	}
	if c.pendErr != nil {
		e |= vsock.PollErr
	}
	least := int(min(c.opt.lowWater, uint64(max(c.bufAlloc, 1))))
	if c.hasData(least) {
		e |= vsock.PollIn
	}
	if c.writeError() != nil || c.free() > 0 && !c.full {
		e |= vsock.PollOut
	}
	return e
}

// Watch implements vsock.Socket.
func (s *Socket) Watch(_ vsock.Events, notify func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c, l, d := s.conn.Load(), s.listener.Load(), s.datagram.Load(); {
	case c != nil:
		return c.watch(notify)
	case l != nil:
		return l.watch(notify)
	case d != nil:
		return d.watch(notify)
	}
	return s.watchers.add(&s.mu, notify)
}

func (c *conn) watch(notify func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watchers.add(&c.mu, notify)
}
