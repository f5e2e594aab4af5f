package hybrid

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

// serve is the whole life of a client's connection, which handshake has entered.
func (s *Server) serve(client relay.Conn, evicted func() bool) error {
	port, rest, err := s.request(client, evicted)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.config.DialTimeout)
	guest, err := s.config.Dial(ctx, port)
	cancel()
	if err != nil {
		s.refused.Add(1)
		return fmt.Errorf("port %d of the guest: %w", port, err)
	}
	end, err := s.begin(guest)
	if err != nil {
		_ = guest.Close()
		return err
	}
	defer end()
	local, _ := guest.LocalAddr().(vsock.Addr)
	_ = client.SetWriteDeadline(time.Now().Add(s.config.HandshakeTimeout))
	if _, err := client.Write(formatLine(verbOK, local.Port)); err != nil {
		return fmt.Errorf("port %d of the guest: the client took no answer: %w", port, err)
	}
	_ = client.SetDeadline(time.Time{})
	s.joined.Add(1)
	return join(client, guest, rest)
}

// request reads the client's line.
func (s *Server) request(client relay.Conn, evicted func() bool) (port uint32, rest []byte, err error) {
	_ = client.SetReadDeadline(time.Now().Add(s.config.HandshakeTimeout))
	port, rest, err = readRequest(client)
	switch was := evicted(); {
	case err == nil:
		return port, rest, nil
	case was:
		s.evicted.Add(1)
		return 0, nil, fmt.Errorf("closed, since %d others wait to send their line, too", s.config.MaxHandshakes)
	case s.ctx.Err() != nil:
		return 0, nil, ErrServerClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.timedOut.Add(1)
		return 0, nil, fmt.Errorf("no line CONNECT within %v", s.config.HandshakeTimeout)
	}
	s.malformed.Add(1)
	return 0, nil, err
}

// handshake enters a client among those that have not sent their line, and closes
// the oldest if these are too many. The function it gives ends that, and says
// whether the client was closed itself.
func (s *Server) handshake(client relay.Conn) (evicted func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.handshakes.PushBack(client)
	if s.handshakes.Len() > s.config.MaxHandshakes {
		oldest, _ := s.handshakes.Remove(s.handshakes.Front()).(relay.Conn)
		_ = oldest.Close()
	}
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := s.handshakes.Len()
		s.handshakes.Remove(e)
		return s.handshakes.Len() == n
	}
}
