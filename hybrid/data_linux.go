package hybrid

import (
	"syscall"

	"golang.org/x/sys/unix"

	"vsockets.dev/vsock"
)

// This file has the calls of socket that move data.

// blocks says whether a call may wait.
func (s *socket) blocks(flags vsock.Flags) bool {
	return flags&vsock.MsgDontWait == 0 && !s.nonblock.Load()
}

// Read implements vsock.Socket.
func (s *socket) Read(p []byte) (int, error) {
	c := s.conn.Load()
	if c == nil || s.nonblock.Load() {
		n, _, err := s.Recv(p, 0)
		return n, err
	}
	return c.read(p)
}

// Write implements vsock.Socket.
func (s *socket) Write(p []byte) (int, error) {
	c := s.conn.Load()
	if c == nil || s.nonblock.Load() {
		return s.Send(p, 0)
	}
	n, err := c.Write(p)
	return n, c.sendError(bare(err))
}

// Recv implements vsock.Socket.
func (s *socket) Recv(p []byte, flags vsock.Flags) (n int, got vsock.Flags, err error) {
	c, err := s.connected()
	if err != nil {
		return 0, 0, err
	}
	n, err = c.recv(p, int(flags)&unix.MSG_PEEK, s.blocks(flags))
	return n, 0, err
}

// RecvFrom implements vsock.Socket.
func (s *socket) RecvFrom(p []byte, flags vsock.Flags) (n int, got vsock.Flags, from vsock.Addr, err error) {
	n, got, err = s.Recv(p, flags)
	if c := s.conn.Load(); c != nil && err == nil {
		from = c.remote
	}
	return n, got, from, err
}

// Send implements vsock.Socket.
func (s *socket) Send(p []byte, flags vsock.Flags) (int, error) {
	c, err := s.connected()
	if err != nil {
		return 0, err
	}
	return c.send(p, s.blocks(flags))
}

// SendTo implements vsock.Socket: there are no datagrams.
func (s *socket) SendTo([]byte, vsock.Flags, vsock.Addr) (int, error) {
	if _, err := s.connected(); err != nil {
		return 0, err
	}
	return 0, syscall.EISCONN
}
