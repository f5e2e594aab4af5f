package hybrid

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// A HostConn is a connection to the program that listens for a port of the host,
// to be joined to the guest's.
type HostConn struct {
	s    *Server
	c    *net.UnixConn
	port uint32
	once sync.Once
}

// DialHost connects to the Unix socket of a port of the host, so that the guest's
// connection to it can be accepted, or refused at once where DialHost fails:
// nobody listens, or its backlog is full, or the guest has too many connections.
// Join or Close must follow.
func (s *Server) DialHost(ctx context.Context, port uint32) (*HostConn, error) {
	if !s.take() {
		return nil, errMaxConns
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", hostPath(s.config.Path, port))
	if err != nil {
		s.refused.Add(1)
		s.free()
		return nil, fmt.Errorf("hybrid: port %d of the host: %w", port, err)
	}
	u, _ := c.(*net.UnixConn)
	if err := s.enter(u); err != nil {
		_ = c.Close()
		s.free()
		return nil, err
	}
	return &HostConn{s: s, c: u, port: port}, nil
}

// Join copies between the connection of the guest and the host's program until
// both directions have ended, and closes both; half-close is passed on. The
// server's Close ends it.
func (h *HostConn) Join(guest GuestConn) error {
	end, err := h.s.begin(guest)
	if err != nil {
		_ = guest.Close()
		h.close()
		return err
	}
	defer end()
	defer h.close()
	h.s.joined.Add(1)
	if err := join(h.c, guest, nil); err != nil {
		return fmt.Errorf("hybrid: port %d of the host: %w", h.port, err)
	}
	return nil
}

// Close gives up a connection that is not joined. The server's Close leaves that to do.
func (h *HostConn) Close() error {
	h.close()
	return nil
}

func (h *HostConn) close() {
	h.once.Do(func() {
		h.s.leave(h.c)
		h.s.free()
	})
}
