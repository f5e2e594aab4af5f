package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"vsockets.dev/internal/relay"
)

// accept takes connections in until the forward stops. It waits for nothing but
// them: each has a goroutine of its own.
func (f *Forwarder) accept(l net.Listener, running *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			f.take(c, running)
		case errors.Is(err, io.EOF), f.isStopping():
			return // there was one connection only, or Drain or Close was called
		default:
			err = fmt.Errorf("forward: %s: the listener was closed: %w; restart the forward", f.cfg.Spec, err)
			f.log.Error("no connections are accepted any more", "err", err)
			f.ended(err)
			return
		}
	}
}

func (f *Forwarder) isStopping() bool {
	select {
	case <-f.stopping:
		return true
	default:
		return false
	}
}

// take serves a connection, or resets it.
func (f *Forwarder) take(c net.Conn, running *sync.WaitGroup) {
	in, ok := c.(relay.Conn)
	switch {
	case !allowed(f.cfg.Allow, c.RemoteAddr()):
		f.counts.denied.Add(1)
		f.log.Debug("denied: not on the allow list", "client", c.RemoteAddr())
	case !ok || !f.enter(c):
		f.counts.refused.Add(1)
		f.log.Debug("refused: too many connections", "client", c.RemoteAddr(), "limit", f.cfg.MaxConns)
	default:
		f.counts.accepted.Add(1)
		running.Go(func() { f.serve(in) })
		return
	}
	_ = relay.Reset(c)
}

// enter counts a connection in, if there is room for it.
func (f *Forwarder) enter(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.active >= f.cfg.MaxConns {
		return false
	}
	f.active++
	f.conns[c] = struct{}{}
	return true
}

// join puts what was dialled under Close too.
func (f *Forwarder) join(out net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.conns[out] = struct{}{}
	return true
}

// leave counts a connection out.
func (f *Forwarder) leave(ends ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active--
	for _, c := range ends {
		delete(f.conns, c)
	}
}

// serve dials To for a connection, and joins the two until they end.
func (f *Forwarder) serve(in relay.Conn) {
	out, err := f.reach()
	if err != nil {
		_ = relay.Reset(in)
		f.leave(in)
		f.once(err)
		return
	}
	defer f.leave(in, out)
	if !f.join(out) {
		_ = relay.Reset(in)
		_ = relay.Reset(out)
		return
	}
	stopIn, stopOut := whenGone(in, out), whenGone(out, in)
	defer stopIn()
	defer stopOut()
	err = (&relay.Link{
		A: in, B: out, Idle: f.cfg.IdleTimeout,
		AToB: &f.counts.sent, BToA: &f.counts.received,
	}).Run()
	if err != nil {
		err = fmt.Errorf("forward: %s: the connection of %s ended early: %w", f.cfg.Spec, in.RemoteAddr(), err)
		f.log.Debug("ended early", "client", in.RemoteAddr(), "err", err)
		f.once(err)
	}
}

// once keeps the error of a forward that has one connection.
func (f *Forwarder) once(err error) {
	if _, ok := f.listener.(*once); ok {
		f.ended(err)
	}
}

// reach dials To. That it fails is logged once, until it succeeds again: clients
// decide how often it is tried.
func (f *Forwarder) reach() (relay.Conn, error) {
	ctx, cancel := context.WithTimeout(f.ctx, f.cfg.DialTimeout)
	defer cancel()
	out, err := f.cfg.dial(ctx, f.cfg.Spec.To)
	if err == nil {
		if f.failing.Swap(false) {
			f.log.Info("the far side answers again")
		}
		return out, nil
	}
	f.counts.dialFailed.Add(1)
	err = fmt.Errorf("forward: %s: dialling %s: %w; is it running, and is this its address?", f.cfg.Spec, f.cfg.Spec.To, err)
	if _, one := f.listener.(*once); one { // Wait tells
		return nil, err
	}
	if f.ctx.Err() == nil && !f.failing.Swap(true) {
		f.log.Warn("the far side cannot be reached", "err", err)
	}
	return nil, err
}
