package stack

import (
	"context"
	"net"
	"os"
	"syscall"
	"time"

	"vsockets.dev/internal/packet"
)

// free needs mu. It is how many bytes the peer has room for, virtio 1.3 section
// 5.10.6.3. The counters wrap; a peer whose numbers make no sense has no room.
func (c *conn) free() uint32 {
	inFlight := c.sent - c.peerFwd
	if inFlight >= c.peerAlloc {
		return 0
	}
	return c.peerAlloc - inFlight
}

// send is the application's Send.
func (c *conn) send(p []byte) (done int, err error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	for {
		n, err := c.trySend(p[done:])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
		if n == 0 {
			<-c.writeSig
		}
	}
}

// trySend sends one packet of p, as much as credit and the way allow. It returns
// 0 and no error where it must wait for the signal.
func (c *conn) trySend(p []byte) (int, error) {
	c.sendMu.Lock()
	n, err := c.sendData(p)
	c.sendMu.Unlock()
	c.flush()
	return n, err
}

// sendData needs sendMu. What is pending goes before the data: a RESPONSE must.
func (c *conn) sendData(p []byte) (int, error) {
	if c.pending.Load() != 0 && !c.sendControls() {
		return 0, c.sendError()
	}
	n, err := c.reserve(p)
	if n == 0 || err != nil {
		return 0, err
	}
	c.segment[0] = p[:n]
	c.packet.Payload = c.segment[:]
	taken, ok := c.out.Take(&c.packet, c)
	c.segment[0] = nil
	if ok {
		taken = n
	}
	if taken < n {
		c.mu.Lock()
		c.sent -= uint32(n - taken)
		c.mu.Unlock()
	}
	if taken > 0 {
		c.told.Store(c.packet.FwdCnt)
	}
	return taken, nil
}

// reserve takes credit for as much of p as one packet carries, and makes its header.
func (c *conn) reserve(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.cannotSend(); err != nil || len(p) == 0 {
		return 0, err
	}
	n := min(len(p), int(min(c.free(), packet.MaxPayload)))
	if n == 0 {
		if !c.starved {
			c.starved = true
			c.pending.Or(sendCreditRequest)
		}
		return 0, nil
	}
	c.header(packet.OpRW)
	c.packet.Len = uint32(n)
	c.sent += uint32(n)
	return n, nil
}

func (c *conn) sendError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cannotSend()
}

// cannotSend needs mu.
func (c *conn) cannotSend() error {
	switch {
	case c.gone:
		return net.ErrClosed
	case c.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	}
	return c.writeError()
}

// connect sends REQUEST and waits for the answer.
func (c *conn) connect(ctx context.Context, timeout time.Duration) error {
	c.pending.Or(sendRequest)
	c.flush()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		if done, err := c.connected(); done {
			return err
		}
		select {
		case <-c.writeSig:
		case <-ctx.Done():
			c.abort(ctx.Err())
		case <-timer.C:
			c.abort(syscall.ETIMEDOUT)
		}
	}
}

func (c *conn) connected() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case connecting:
		return false, nil
	case closed:
		return true, c.err
	}
	return true, nil
}
