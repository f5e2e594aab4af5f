package stack

import (
	"net"
	"syscall"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// This file has the calls of Socket that move data.

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

// flags adds what SetNonblock said.
func (s *Socket) flags(f vsock.Flags) vsock.Flags {
	if s.nonblock.Load() {
		f |= vsock.MsgDontWait
	}
	return f
}

// Recv implements vsock.Socket.
func (s *Socket) Recv(p []byte, flags vsock.Flags) (int, vsock.Flags, error) {
	n, got, _, err := s.RecvFrom(p, flags)
	return n, got, err
}

// RecvFrom implements vsock.Socket.
func (s *Socket) RecvFrom(p []byte, flags vsock.Flags) (int, vsock.Flags, vsock.Addr, error) {
	if s.typ == vsock.Datagram {
		d, err := s.boundDatagram()
		if err != nil {
			return 0, 0, vsock.Addr{}, err
		}
		return d.recv(p, s.flags(flags))
	}
	c, err := s.connection()
	if err != nil {
		return 0, 0, vsock.Addr{}, err
	}
	n, got, err := c.recv(p, s.flags(flags))
	return n, got, c.flow.remote, err
}

// Send implements vsock.Socket.
func (s *Socket) Send(p []byte, flags vsock.Flags) (int, error) {
	if s.typ == vsock.Datagram {
		d, err := s.boundDatagram()
		if err != nil {
			return 0, err
		}
		return d.send(p, nil)
	}
	c, err := s.connection()
	if err != nil {
		return 0, err
	}
	return c.send(p, s.flags(flags))
}

// SendTo implements vsock.Socket.
func (s *Socket) SendTo(p []byte, _ vsock.Flags, to vsock.Addr) (int, error) {
	switch {
	case s.isClosed():
		return 0, net.ErrClosed
	case s.typ != vsock.Datagram:
		if _, err := s.connection(); err != nil {
			return 0, err
		}
		return 0, syscall.EISCONN
	}
	d, err := s.boundDatagram()
	if err != nil {
		return 0, err
	}
	return d.send(p, &to)
}

// Read implements io.Reader.
func (s *Socket) Read(p []byte) (int, error) {
	n, _, err := s.Recv(p, 0)
	return n, err
}

// Write implements io.Writer.
func (s *Socket) Write(p []byte) (int, error) { return s.Send(p, 0) }

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
