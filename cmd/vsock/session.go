package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

const (
	// sessionBlock is how much is read from the input at a time. Of seqpacket and
	// datagram sockets it is the largest message that is sent.
	sessionBlock = 64 << 10

	// sessionMessage is the largest message that is received: a socket's largest
	// buffer by default.
	sessionMessage = int(vsock.DefaultBufferMaxSize)

	// hangupInterval is how often it is looked whether the peer has gone, once it
	// sends no more.
	hangupInterval = 100 * time.Millisecond
)

// session joins a connection to an input and an output, with half-close.
type session struct {
	conn *vsock.Conn
	in   io.Reader // nil: nothing is sent
	out  io.WriteCloser
	idle time.Duration // 0: no limit

	sent, received atomic.Uint64
}

// run returns when both directions have ended: the input's end is the peer's end of
// file, and the peer's is that of the output. Where the peer has closed the
// connection, no further input is waited for. What is cut short is an error, and
// reset, so that it does not look complete to the peer either.
func (s *session) run(ctx context.Context) error {
	up, down := make(chan error, 1), make(chan error, 1)
	go func() { up <- s.send() }()
	go func() { down <- s.receive() }()
	tick := time.NewTicker(s.tick())
	defer tick.Stop()

	var unsent error // the peer takes no more, and may still be sending
	var last uint64
	quiet := time.Now()
	for sending, receiving := true, true; sending || receiving; {
		select {
		case err := <-up:
			sending = false
			if errors.Is(err, syscall.EPIPE) && receiving {
				unsent = err
			} else if err != nil {
				return s.fail(err)
			}
		case err := <-down:
			if receiving = false; err != nil {
				return s.fail(err)
			}
		case now := <-tick.C:
			if moved := s.sent.Load() + s.received.Load(); moved != last {
				last, quiet = moved, now
			}
			if s.idle > 0 && now.Sub(quiet) >= s.idle {
				return s.fail(fmt.Errorf("nothing has moved for %v (--idle)", s.idle))
			}
			if !receiving && s.conn.Socket().Ready()&vsock.PollHup != 0 {
				sending = false
			}
		case <-ctx.Done():
			_ = relay.Reset(s.conn)
			return errInterrupted
		}
	}
	if unsent != nil {
		return s.fail(unsent)
	}
	return s.conn.Close()
}

func (s *session) tick() time.Duration {
	if s.idle > 0 {
		return min(hangupInterval, max(s.idle/4, time.Millisecond))
	}
	return hangupInterval
}

// fail ends the connection, and says how far it came.
func (s *session) fail(err error) error {
	_ = relay.Reset(s.conn)
	return withStatus(exitCut, fmt.Errorf("the connection ended early, with %d bytes sent and %d received: %w",
		s.sent.Load(), s.received.Load(), err))
}

// send sends the input: of seqpacket sockets, each Read of it as a message.
func (s *session) send() error {
	if s.in != nil {
		if err := s.copyIn(); err != nil {
			return err
		}
	}
	err := s.conn.CloseWrite()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ENOTCONN) {
		return nil // it was reset: receive knows whether that matters
	}
	return err
}

func (s *session) copyIn() error {
	buf := make([]byte, sessionBlock)
	for {
		n, err := s.in.Read(buf)
		if n > 0 {
			w, werr := s.conn.Write(buf[:n])
			s.sent.Add(uint64(w))
			switch {
			case errors.Is(werr, syscall.EMSGSIZE):
				return fmt.Errorf("a message of %d bytes is larger than the peer's buffer; send smaller ones: %w", n, werr)
			case werr != nil:
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the input: %w", err)
		}
	}
}

func (s *session) receive() error {
	size, flags := sessionBlock, vsock.Flags(0)
	if s.conn.Socket().Type() == vsock.Seqpacket {
		size, flags = sessionMessage, vsock.MsgTrunc
	}
	buf := make([]byte, size)
	for {
		n, got, err := s.conn.Socket().Recv(buf, flags)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		s.received.Add(uint64(n))
		if got&vsock.MsgTrunc != 0 || n > len(buf) {
			return fmt.Errorf("a message of %d bytes came, and at most %d can be taken", n, len(buf))
		}
		if _, err := s.out.Write(buf[:n]); err != nil {
			return outputError(err)
		}
	}
	if err := s.out.Close(); err != nil {
		return outputError(err)
	}
	return nil
}

func outputError(err error) error { return fmt.Errorf("writing the output: %w", err) }
