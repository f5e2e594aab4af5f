// Package forward joins what connects to one place to another place: a port of a
// context, a TCP address, a Unix socket, standard input and output, or a command.
//
// A [Spec] says from where to where, and [Start] makes a [Forwarder] of it. Each
// connection that comes in is accepted, To is dialled for it, and the two are
// joined until both directions have ended; the end of one direction is passed on.
//
// No socket interface lets a listener see whether To answers before it accepts. So
// where the dial fails, the client is connected and then reset: an error on TCP,
// which tells it from an empty answer. A vSockets connection, a Unix one and a pipe
// have no reset that a program can send, and there the client reads an end.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"vsockets.dev/internal/patient"
	"vsockets.dev/internal/relay"
)

// Forwarder is a forward that runs. Use Start to make one.
type Forwarder struct {
	cfg      Config
	log      *slog.Logger
	listener net.Listener
	ctx      context.Context // of all dials
	cancel   context.CancelFunc
	done     chan struct{} // closed when no goroutine is left
	stopping chan struct{} // closed when nothing is accepted any more
	stop     func() error  // once

	counts  counters
	failing atomic.Bool // the last dial failed, and that has been logged

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{} // both ends of each
	active int                   // connections that were taken in
	err    error                 // what Wait returns
}

// Counters tell what a forward has done.
type Counters struct {
	Accepted   uint64 // connections that were taken in
	Denied     uint64 // reset because the allow list lacks their source
	Refused    uint64 // reset because there were MaxConns already
	DialFailed uint64 // reset because To did not answer
	Active     int    // connections that are there now
	Sent       uint64 // bytes from From to To
	Received   uint64 // bytes from To to From
}

type counters struct{ accepted, denied, refused, dialFailed, sent, received atomic.Uint64 }

// Start listens. The context is for that only: a forward ends by Close or Drain, or
// if its From is stdio or a command, with that one connection.
func Start(ctx context.Context, c Config) (*Forwarder, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	l, err := c.listen(ctx)
	if err != nil {
		return nil, fmt.Errorf("forward: %s: listening on %s: %w%s", c.Spec, c.Spec.From, err, remedy(err))
	}
	return run(c, l), nil
}

// run forwards what a listener accepts.
func run(c Config, l net.Listener) *Forwarder {
	f := &Forwarder{
		cfg: c, log: c.Log.With("forward", c.Spec.String()), listener: l,
		done: make(chan struct{}), stopping: make(chan struct{}),
		conns: make(map[net.Conn]struct{}),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	waiting := patient.New(l, f.log)
	f.stop = sync.OnceValue(func() error {
		close(f.stopping)
		return waiting.Close()
	})
	var running sync.WaitGroup
	running.Go(func() { f.accept(waiting, &running) })
	go func() {
		running.Wait()
		f.cancel()
		close(f.done)
	}()
	return f
}

// remedy says what to do about an error of listening, where its own text does not.
func remedy(err error) string {
	var op *net.OpError
	switch {
	case !errors.As(err, &op):
		return ""
	case errors.Is(err, syscall.EADDRINUSE):
		return "; choose another port, or stop what listens there"
	case errors.Is(err, syscall.EACCES):
		return "; choose a port from 1024 on, or run it with the right to lower ones"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "; that address is not one of this side's, choose one that is"
	}
	return ""
}

// Addr is where the forward listens, with the port that it has got.
func (f *Forwarder) Addr() net.Addr { return f.listener.Addr() }

// Spec is from where to where.
func (f *Forwarder) Spec() Spec { return f.cfg.Spec }

// Counters tells what has happened so far.
func (f *Forwarder) Counters() Counters {
	f.mu.Lock()
	active := f.active
	f.mu.Unlock()
	return Counters{
		Accepted:   f.counts.accepted.Load(),
		Denied:     f.counts.denied.Load(),
		Refused:    f.counts.refused.Load(),
		DialFailed: f.counts.dialFailed.Load(),
		Active:     active,
		Sent:       f.counts.sent.Load(),
		Received:   f.counts.received.Load(),
	}
}

// Drain stops listening, and waits until the connections have ended. If the context
// ends first, its error is returned and they go on: Close ends them.
func (f *Forwarder) Drain(ctx context.Context) error {
	err := f.stop()
	select {
	case <-f.done:
		return err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("forward: %s: %d connections have not ended: %w", f.cfg.Spec, f.active, ctx.Err())
	}
}

// Close stops listening, resets the connections, and returns when all is over. It
// may be called again.
func (f *Forwarder) Close() error {
	err := f.stop()
	f.cancel()
	f.mu.Lock()
	f.closed = true
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	var all sync.WaitGroup
	for c := range conns {
		all.Go(func() { _ = relay.Reset(c) }) // at once, since a command takes a moment
	}
	all.Wait()
	<-f.done
	return err
}

// Wait returns when the forward has ended. If its From is stdio or a command, it
// returns why that one connection ended early, if it did.
func (f *Forwarder) Wait() error {
	<-f.done
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// ended keeps what Wait returns.
func (f *Forwarder) ended(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}
