package stack

import (
	"net"
	"os"
	"syscall"

	"vsockets.dev/internal/packet"
)

// take receives a packet of this connection.
func (c *conn) take(p *packet.Packet) {
	if over := c.receive(p); over {
		c.st.remove(c)
	}
	c.flush()
}

// receive changes the state as p says, and tells whether the flow is over. Its
// unlock is deferred because the payload may lie in memory that its owner takes
// away, and the copy then panics.
func (c *conn) receive(p *packet.Packet) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.Op == packet.OpReset:
		c.pending.Store(0) // not even an RST of our own: RST is never answered
		if c.state != closed {
			c.die(c.resetError())
		}
		return true
	case c.state == closed:
		return false // our RST waits to go, and says all there is to say
	case c.state == connecting:
		if p.Op != packet.OpResponse {
			c.dieWithReset(syscall.EPROTO)
			return false
		}
		c.state = established
		c.credit(&p.Header)
		c.writeSig.send()
		return false
	}

	c.credit(&p.Header)
	switch p.Op {
	case packet.OpRW:
		c.receiveData(p)
	case packet.OpCreditUpdate:
	case packet.OpCreditRequest:
		c.pending.Or(sendCreditUpdate)
	case packet.OpShutdown:
		c.receiveShutdown(p.Flags & packet.ShutdownBoth)
	default:
		// REQUEST and RESPONSE are of a connection that the peer takes for another.
		c.dieWithReset(syscall.ECONNRESET)
	}
	return false
}

// credit needs mu. Every packet tells the peer's receive buffer and how much of
// our data its application has taken, virtio 1.3 section 5.10.6.3.
func (c *conn) credit(h *packet.Header) {
	c.peerAlloc, c.peerFwd = h.BufAlloc, h.FwdCnt
	if c.starved && c.free() > 0 {
		c.starved = false
		c.writeSig.send()
	}
}

// receiveShutdown needs mu. When the peer will neither send nor receive, RST is
// the answer that ends the flow, virtio 1.3 section 5.10.6.5.
func (c *conn) receiveShutdown(flags uint32) {
	c.peerShut |= flags
	if c.peerShut == packet.ShutdownBoth {
		c.dieWithReset(nil)
		return
	}
	c.readSig.send()
	c.writeSig.send()
}

// receiveData needs mu. The bytes go to a Recv that waits, and else to the buffer.
func (c *conn) receiveData(p *packet.Packet) {
	switch {
	case c.peerShut&packet.ShutdownSend != 0:
		c.dieWithReset(syscall.ECONNRESET) // it said that it would not send
		return
	case uint64(c.received-c.fwd)+uint64(p.Len) > uint64(c.bufAlloc):
		c.dieWithReset(syscall.ECONNRESET) // more than its credit
		return
	case p.Len == 0:
		return
	}
	c.received += p.Len
	if c.state == closing || c.shut&packet.ShutdownReceive != 0 {
		c.fwd += p.Len // nobody will read it
		return
	}
	segs, skip := p.Payload, 0
	if c.parked != nil {
		segs, skip = c.fillParked(segs)
	}
	for _, s := range segs {
		c.rx.write(s[skip:], int(c.bufAlloc))
		skip = 0
	}
}

// fillParked needs mu. It copies into the buffer of the Recv that waits, wakes
// it, and gives what did not fit: segments, and how much of the first is done.
func (c *conn) fillParked(segs [][]byte) ([][]byte, int) {
	before := c.parkedN
	defer func() {
		n := c.parkedN - before
		c.fwd += uint32(n)
		c.dueCreditUpdate()
		if before == 0 && n > 0 {
			c.readSig.send()
		}
	}()
	for i, s := range segs {
		n := copy(c.parked[c.parkedN:], s)
		c.parkedN += n
		if n < len(s) {
			return segs[i:], n
		}
	}
	return nil, 0
}

// dueCreditUpdate needs mu. The peer is told of free space when it knows of less
// than half the buffer, rather than at every read.
func (c *conn) dueCreditUpdate() {
	if c.state == established && c.fwd-c.told.Load() >= max(c.bufAlloc/2, 1) {
		c.pending.Or(sendCreditUpdate)
	}
}

// recv is the application's Recv.
func (c *conn) recv(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		n, wait, err := c.tryRecv(p)
		if !wait {
			return n, err
		}
		<-c.readSig
		if n := c.unpark(); n > 0 {
			c.flush()
			return n, nil
		}
	}
}

// tryRecv takes what there is. If there is nothing yet, it leaves p where
// packets that arrive are put at once.
func (c *conn) tryRecv(p []byte) (n int, wait bool, err error) {
	c.mu.Lock()
	switch {
	case c.gone:
		err = net.ErrClosed
	case c.readDeadline.expired:
		err = os.ErrDeadlineExceeded
	case len(p) == 0:
	case c.rx.len() > 0 && c.shut&packet.ShutdownReceive == 0:
		n = c.rx.read(p)
		c.fwd += uint32(n)
		c.dueCreditUpdate()
	default:
		if err = c.readError(); err == nil {
			c.parked, wait = p, true
		}
	}
	c.mu.Unlock()
	if n > 0 {
		c.flush()
	}
	return n, wait, err
}

// unpark takes the buffer of a Recv back, and says how much it got.
func (c *conn) unpark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.parkedN
	c.parked, c.parkedN = nil, 0
	return n
}
