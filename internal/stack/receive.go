package stack

import (
	"net"
	"os"
	"sync"
	"syscall"

	"vsockets.dev/internal/bulk"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// maxEmpty is how many messages beyond one a byte a seqpacket connection keeps.
// Empty ones take no credit, so the buffer's size does not bound them.
const maxEmpty = 1024

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
	case c.state == connecting && c.requested && p.Op == packet.OpResponse:
		c.receiveResponse(&p.Header)
		return false
	case c.state == connecting:
		c.breach(BreachOrder)
		c.dieWithReset(syscall.EPROTO)
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
		c.breach(BreachOrder)
		c.dieWithReset(syscall.ECONNRESET)
	}
	return false
}

func (c *conn) breach(b Breach) { c.st.breach(c.flow.remote, c.flow.local, b) }

// credit needs mu. Every packet tells the peer's receive buffer and how much of
// our data its application has taken, virtio 1.3 section 5.10.6.3.
func (c *conn) credit(h *packet.Header) {
	if c.peerAlloc == h.BufAlloc && c.peerFwd == h.FwdCnt {
		return
	}
	c.peerAlloc, c.peerFwd = h.BufAlloc, h.FwdCnt
	if c.starved && c.free() > 0 {
		c.starved, c.asked = false, false
		c.writeSig.send()
	}
	c.watchers.fire()
}

// receiveShutdown needs mu. When the peer will neither send nor receive, RST is
// the answer that ends the flow, virtio 1.3 section 5.10.6.5.
func (c *conn) receiveShutdown(flags uint32) {
	c.peerShut |= flags
	if c.peerShut == packet.ShutdownBoth {
		c.dieWithReset(nil)
		return
	}
	c.readable()
	c.writable()
}

// receiveData needs mu. The bytes go to a Recv that waits, and else to the buffer.
func (c *conn) receiveData(p *packet.Packet) {
	switch {
	case c.peerShut&packet.ShutdownSend != 0:
		c.breach(BreachOrder)
		c.dieWithReset(syscall.ECONNRESET) // it said that it would not send
		return
	case uint64(c.received-c.fwd)+uint64(p.Len) > uint64(c.window()):
		c.breach(BreachCredit)
		c.dieWithReset(syscall.ECONNRESET) // more than its credit
		return
	case c.typ == packet.TypeSeqpacket && c.messages.len() >= int(c.bufAlloc)+maxEmpty:
		c.breach(BreachCredit)
		c.dieWithReset(syscall.ECONNRESET)
		return
	}
	c.received += p.Len
	c.uncapped = c.uncapped || c.received-c.known > c.peerAlloc
	if c.state == closing || c.shut&packet.ShutdownReceive != 0 {
		c.fwd += p.Len // nobody will read it
		return
	}
	segs, skip := p.Payload, 0
	if c.parked != nil {
		segs, skip = c.fillParked(segs)
	}
	for _, s := range segs {
		c.rx.write(s[skip:], int(c.window()))
		skip = 0
	}
	if c.typ == packet.TypeSeqpacket {
		c.messages.extend(int(p.Len), p.Flags&packet.EndOfMessage != 0, p.Flags&packet.EndOfRecord != 0)
	}
	if c.waiting && c.hasData(1) {
		c.waiting = false
		c.readSig.send()
	}
	c.watchers.fire()
}

// fillParked needs mu. It copies into the buffer of the Recv that waits, wakes
// it, and gives what did not fit: segments, and how much of the first is done.
func (c *conn) fillParked(segs [][]byte) ([][]byte, int) {
	before := c.parkedN
	defer func() {
		n := c.parkedN - before
		c.fwd += uint32(n)
		c.widen()
		c.dueCreditUpdate()
		if before == 0 && n > 0 {
			c.readSig.send()
		}
	}()
	for i, s := range segs {
		n := bulk.Copy(c.parked[c.parkedN:], s)
		c.parkedN += n
		if n < len(s) {
			return segs[i:], n
		}
	}
	return nil, 0
}

// dueCreditUpdate needs mu. The peer is told of free space when it knows of less
// than half the buffer, rather than at every read: of our buffer, or of its own if
// that is smaller, since there are stacks that send no more than they would take
// (newer Linux: "cap TX credit to local buffer size"), until it is seen to be none. Of a
// seqpacket connection, also when all is read: the peer may wait for the whole buffer, for
// one message.
func (c *conn) dueCreditUpdate() {
	all := c.window()
	if !c.uncapped {
		all = min(all, c.peerAlloc)
	}
	untold := c.fwd - c.told.Load()
	message := c.typ == packet.TypeSeqpacket && c.rx.len() == 0
	if c.state == established && untold > 0 && (untold >= all/2 || message) {
		c.pending.Or(sendCreditUpdate)
	}
}

// lockOr takes a lock; with MsgDontWait, only if nobody else has it.
func lockOr(mu *sync.Mutex, flags vsock.Flags) bool {
	if flags&vsock.MsgDontWait != 0 {
		return mu.TryLock()
	}
	mu.Lock()
	return true
}

// recv is the application's Recv.
func (c *conn) recv(p []byte, flags vsock.Flags) (int, vsock.Flags, error) {
	if !lockOr(&c.readMu, flags) {
		return 0, 0, syscall.EAGAIN
	}
	defer c.readMu.Unlock()
	for {
		n, got, wait, err := c.tryRecv(p, flags)
		if !wait {
			return n, got, err
		}
		if !look(&c.readSpin, c.readSig.sent, c.in, c.trickles) {
			c.readDeadline.sleep()
		}
		if n := c.unpark(); n > 0 {
			c.flush()
			return n, 0, nil
		}
	}
}

// tryRecv takes what there is. If there is nothing yet, it leaves p where
// packets that arrive are put at once.
func (c *conn) tryRecv(p []byte, flags vsock.Flags) (n int, got vsock.Flags, wait bool, err error) {
	c.mu.Lock()
	switch {
	case c.gone:
		err = net.ErrClosed
	case flags&vsock.MsgDontWait == 0 && c.readDeadline.over():
		err = os.ErrDeadlineExceeded
	case c.hasData(1) && c.shut&packet.ShutdownReceive == 0:
		n, got = c.takeData(p, flags)
	case len(p) == 0 && c.typ == packet.TypeStream:
	default:
		switch err = c.readError(); {
		case err != nil:
		case flags&vsock.MsgDontWait != 0:
			err = syscall.EAGAIN
		default:
			wait = true
			c.trickles = c.little && c.sent == c.sentThen
			if c.typ == packet.TypeStream && flags&vsock.MsgPeek == 0 {
				c.parked = p
			} else {
				c.waiting = true
			}
		}
	}
	c.mu.Unlock()
	c.flush()
	return n, got, wait, err
}

// hasData needs mu. It says whether Recv can take something: of a stream, at
// least so many bytes, of the others, a message.
func (c *conn) hasData(least int) bool {
	if c.typ == packet.TypeStream {
		return c.rx.len() >= least
	}
	_, ok := c.messages.first()
	return ok
}

// takeData needs mu, and data.
func (c *conn) takeData(p []byte, flags vsock.Flags) (n int, got vsock.Flags) {
	before := c.rx.len()
	switch {
	case c.typ == packet.TypeSeqpacket:
		n, got, _ = c.messages.take(&c.rx, p, flags)
	case flags&vsock.MsgPeek != 0:
		n = c.rx.peek(p)
	default:
		n = c.rx.read(p)
	}
	c.fwd += uint32(before - c.rx.len())
	c.widen()
	c.dueCreditUpdate()
	return n, got
}

// little is what is not much for a Recv that waits to get. More of it is waited for a little
// longer, unless something has been sent meanwhile that it may be the answer to.
const little = 8 << 10

// unpark takes the buffer of a Recv back, and says how much it got.
func (c *conn) unpark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.parkedN
	c.parked, c.parkedN = nil, 0
	c.little, c.sentThen = 0 < n && n < little, c.sent
	return n
}
