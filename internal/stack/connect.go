package stack

import (
	"context"
	"syscall"
	"time"

	"vsockets.dev/internal/packet"
)

// connect sends REQUEST, unless the connection has ended already. Its answer, or
// the timeout, ends the state connecting.
func (c *conn) connect() {
	c.mu.Lock()
	if c.state == connecting {
		c.requested = true
		c.pending.Or(sendRequest)
	}
	c.mu.Unlock()
	c.flush()
}

// limit begins the timeout, where the answer was not there at once: to start and stop a
// timer takes as long as most answers.
func (c *conn) limit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connecting && c.timer == nil {
		c.timer = time.AfterFunc(c.opt.timeout, func() { c.connectEnds(syscall.ETIMEDOUT) })
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
	for {
		if done, err := c.connected(); done {
			return err
		}
		if look(&c.writeSpin, c.writeSig, c.in, false) {
			continue
		}
		c.limit()
		select {
		case <-c.writeSig:
		case <-ctx.Done():
			c.connectEnds(ctx.Err())
		}
	}
}

// connected tells whether there is an outcome of connecting, and which.
func (c *conn) connected() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == connecting:
		return false, nil
	case !c.up:
		c.pendErr = nil
		return true, c.err
	}
	return true, nil // whatever came of it since then
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
	if c.timer != nil {
		c.timer.Stop()
	}
	c.credit(h)
	c.writable()
}
