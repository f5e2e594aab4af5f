package stack

import (
	"context"
	"syscall"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
)

// connect sends REQUEST, unless the connection has ended already. Its answer ends the state
// connecting, and so does the timeout, once it has begun.
func (c *conn) connect() {
	c.mu.Lock()
	if c.state == connecting {
		c.requested = true
		c.pending.Or(sendRequest)
	}
	c.mu.Unlock()
	c.flush()
}

// beginTimeout needs mu. It begins the timeout of who does not look for the answer, or has
// not found it at once: to start and stop a timer takes as long as most answers do.
func (c *conn) beginTimeout() {
	if c.state == connecting && c.timer == nil {
		c.timer = time.AfterFunc(c.opt.timeout, func() { c.connectEnds(syscall.ETIMEDOUT) })
		c.decided = make(chan struct{})
	}
}

// connectDecided needs mu, and the state connecting, which is over.
func (c *conn) connectDecided() {
	if c.timer != nil {
		c.timer.Stop()
		close(c.decided)
		spin.Woke()
	}
}

func (c *conn) connectEnds(err error) {
	c.mu.Lock()
	if c.state == connecting {
		c.dieWithReset(err)
	}
	c.mu.Unlock()
	c.flush()
}

// waitConnected waits for the outcome.
func (c *conn) waitConnected(ctx context.Context) error {
	var w spin.Wait
	look(&w, c.isDecided, c.in, false)
	c.mu.Lock()
	c.beginTimeout()
	decided := c.decided
	c.mu.Unlock()
	if decided != nil {
		select {
		case <-decided:
		case <-ctx.Done():
			c.connectEnds(ctx.Err())
		}
	}
	return c.outcome()
}

// goesOn begins the timeout of who does not wait, and says whether there is no outcome yet.
func (c *conn) goesOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginTimeout()
	return c.state == connecting
}

// isDecided says whether there is an outcome.
func (c *conn) isDecided() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state != connecting
}

// wasConnected says whether it was established, whatever came of it since then.
func (c *conn) wasConnected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// outcome tells how connecting went, which is decided.
func (c *conn) outcome() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up {
		return nil // whatever came of it since then
	}
	c.pendErr = nil
	return c.err
}

// failureTold says that the connection never was made, and that PendingError has
// told so: the socket is free for another.
func (c *conn) failureTold() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == closed && !c.up && c.pendErr == nil
}

// agree takes the size of the buffers that a connector proposes, if the limits
// here allow it, and else proposes our own.
func (c *conn) agree(proposed uint32) {
	if c.opt.allows(proposed) {
		c.bufAlloc = min(proposed, maxBuffer)
	}
	c.agreed = c.bufAlloc != proposed
}

// receiveResponse needs mu. The acceptor took the size of the buffers that was
// proposed, or proposes another one, which must be within the limits here. A
// stack that knows nothing of this tells its own buffer's size: that is credit.
func (c *conn) receiveResponse(h *packet.Header) {
	if h.Flags&packet.Renegotiated != 0 {
		if !c.opt.allows(h.BufAlloc) {
			c.dieWithReset(syscall.EINVAL)
			return
		}
		c.bufAlloc = min(h.BufAlloc, maxBuffer)
	}
	c.state, c.up = established, true
	c.connectDecided()
	c.credit(h)
	c.watchers.fire()
}
