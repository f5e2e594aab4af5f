// Package relay joins two connections.
package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrIdle is why a Link with a time limit ended: nothing moved.
var ErrIdle = errors.New("nothing has moved either way within the idle timeout")

// Conn is a connection that can end its directions one by one.
type Conn interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// Link is two connections to join. While it runs, the read deadlines of both are
// its own to set.
type Link struct {
	A, B Conn

	// Idle ends the link with ErrIdle when nothing has moved either way for so
	// long, or up to a quarter longer. Default: 0, never.
	Idle time.Duration

	// AToB and BToA count the bytes that have moved, as they move; a transfer that
	// the kernel makes by itself, once a second. Links may share them. Default:
	// nil, not counted.
	AToB, BToA *atomic.Uint64
}

// Join copies both ways until both directions have ended, and then closes both
// connections: a Link without a time limit.
func Join(a, b Conn) error { return (&Link{A: a, B: b}).Run() }

// Run copies both ways until both directions have ended, and then closes both
// connections.
//
// The end of one direction is passed on, and the other goes on; so it does where
// one side takes no more (EPIPE), which is returned in the end. Any other error
// ends both directions at once, by Reset: what has been cut short is not to look
// complete.
func (l *Link) Run() error {
	r := run{a: l.A, b: l.B, slice: spliceTime}
	if l.Idle > 0 {
		r.slice = min(spliceTime, max(l.Idle/idleTicks, time.Millisecond))
		defer r.watch(l.Idle)()
	}
	var back sync.WaitGroup
	back.Go(func() { r.pipe(l.A, l.B, l.BToA) })
	r.pipe(l.B, l.A, l.AToB)
	back.Wait()
	_ = l.A.Close()
	_ = l.B.Close()
	return r.err
}

// Reset ends a connection so that its peer reads an error and not an end, if
// connections of its kind can: TCP does, as does whatever else has SetLinger. Of
// others it is Close.
func Reset(c net.Conn) error {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	return c.Close()
}

// run is a Link that runs.
type run struct {
	a, b  Conn
	slice time.Duration // for how long the kernel may copy before it tells how much
	moved atomic.Uint64 // bytes both ways

	mu  sync.Mutex
	err error // the first
}

// note keeps the first error, which is the reason for the others.
func (r *run) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// fail ends both directions.
func (r *run) fail(err error) {
	r.note(err)
	_ = Reset(r.a)
	_ = Reset(r.b)
}

// pipe copies from src to dst, and passes on the end of either.
func (r *run) pipe(dst, src Conn, count *atomic.Uint64) {
	switch err := r.copy(dst, src, count); {
	case err == nil:
	case errors.Is(err, syscall.EPIPE):
		// Whoever is behind dst takes no more, and may still be answering.
		r.note(err)
		stopReading(src)
	default:
		r.fail(err)
		return
	}
	// Not connected: it has been reset, which Read tells if it matters.
	if err := dst.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ENOTCONN) {
		r.fail(err)
	}
}

// maxUnread is more than the kernel's buffers of a connection hold.
const maxUnread = 16 << 20

// stopReading tells src's peer that nothing is read any more. What is on its way is
// thrown away: a Unix peer that waits for room is told only when there is some.
func stopReading(src Conn) {
	_ = src.CloseRead()
	_, _ = io.CopyN(io.Discard, src, maxUnread)
}
