package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// MaxConns is the most connections that a server serves at a time, unless it is
// told otherwise. Each takes a buffer of a block or 64 KiB. A further one is closed.
const MaxConns = 2048

// firstWithin is how soon a connection's request must be there.
const firstWithin = 5 * time.Second

// process is this process's number in reports. A client that finds its own knows
// that both ends use the same CPU time.
var process = rand.Uint64()

// Server is the far end of measurements. The zero value is ready to use.
type Server struct {
	// MaxConns is the most connections at a time. Default: the constant of that name.
	MaxConns int

	// Log gets what ended a connection that did not end well. Default: nothing is
	// logged.
	Log func(error)

	live    atomic.Int64
	moved   atomic.Uint64
	buffers sync.Pool
}

// Serve serves connections of l until the context ends, or l fails. It closes l,
// and all connections, before it returns.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	conns.Go(func() { // which is waited for: the address is free when Serve returns
		<-ctx.Done()
		_ = l.Close()
	})

	limit := int64(s.MaxConns)
	if limit == 0 {
		limit = MaxConns
	}
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("bench: accept: %w", err)
		}
		if s.live.Add(1) > limit {
			s.live.Add(-1)
			_ = c.Close()
			s.log(fmt.Errorf("bench: a connection beyond the limit of %d was closed", limit))
			continue
		}
		conns.Go(func() {
			defer s.live.Add(-1)
			if err := s.serve(ctx, c); err != nil && ctx.Err() == nil {
				s.log(err)
			}
		})
	}
}

func (s *Server) log(err error) {
	if s.Log != nil {
		s.Log(err)
	}
}

func (s *Server) serve(ctx context.Context, c net.Conn) error {
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()

	if err := c.SetDeadline(time.Now().Add(firstWithin)); err != nil {
		return fmt.Errorf("bench: set a deadline: %w", err)
	}
	var msg [messageSize]byte
	if _, err := io.ReadFull(c, msg[:]); err != nil {
		return fmt.Errorf("bench: read the request: %w", err)
	}
	req, err := parseRequest(&msg)
	if err != nil {
		return err
	}
	if req.op == OpAnswer { // which is timed: the deadline stays
		return s.report(c, 0, msg[:0])
	}
	if err := c.SetDeadline(time.Now().Add(req.time + Grace)); err != nil {
		return fmt.Errorf("bench: set a deadline: %w", err)
	}
	var n uint64
	switch req.op {
	case OpReceive:
		n, err = s.receive(c, req)
	case OpSend:
		n, err = sendBlocks(c, int(req.block), req.time, &s.moved)
	case OpEcho:
		n, err = s.echo(c, req)
	}
	if err != nil {
		return err
	}
	if err := s.report(c, n, msg[:0]); err != nil {
		return err
	}
	// The client closes first: what was sent has arrived then, on any path.
	if n, err := c.Read(msg[:1]); n > 0 || err == nil {
		return errors.New("bench: the client sent more than it was asked for")
	}
	return nil
}

func (s *Server) report(c net.Conn, n uint64, buf []byte) error {
	r := report{bytes: n, process: process, cpu: CPUTime()}
	if _, err := c.Write(r.append(buf)); err != nil {
		return fmt.Errorf("bench: send the report: %w", err)
	}
	return nil
}

func (s *Server) receive(c net.Conn, req request) (uint64, error) {
	buf, ok := s.buffers.Get().(*[ReadBuffer]byte)
	if !ok {
		buf = new([ReadBuffer]byte)
	}
	defer s.buffers.Put(buf)
	n, rest, err := receiveBlocks(c, int(req.block), buf[:], &s.moved)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("bench: %d bytes came behind the last block", len(rest))
	}
	return n, err
}

func (s *Server) echo(c net.Conn, req request) (n uint64, err error) {
	buf := make([]byte, req.block)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			return n, fmt.Errorf("bench: echo: read: %w", noEOF(err))
		}
		last := buf[0] != 0
		if _, err := c.Write(buf); err != nil {
			return n, fmt.Errorf("bench: echo: write: %w", err)
		}
		n += uint64(len(buf))
		if last {
			return n, nil
		}
	}
}
