package device

import (
	"fmt"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/virtqueue"
)

// txBatch is how many packets are taken from the guest before it gets their
// buffers back and is signalled, at most; spin.BatchBytes ends a batch too.
const txBatch = 64

// txLoop takes what the guest sends, until kick is interrupted. A guest that has sent
// may send more at once, so that is looked for without a kick for a short time.
func (d *Device) txLoop(kick *eventfd.Event) {
	kick.Serve(d.txReady, func() {
		spin.Batches(txSource{d})
		d.linger()
	})
}

// txReady says whether there is something to take, and asks for a kick if not, unless
// someone polls.
func (d *Device) txReady() (ready bool) {
	q := &d.tx
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running() || d.heldBack || d.rested || d.restTX() {
		return false
	}
	var err error
	defer func() { d.check(q, err) }()
	defer q.mem.Catch(guestmem.Arm(), &err)
	return q.ring.HasAvail() || d.pollers == 0 && q.ring.EnableNotify()
}

func (d *Device) sendBatch() (more bool) {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	return d.sendLocked()
}

// sendLocked needs tx.mu. It passes some packets on, and says whether there were any.
func (d *Device) sendLocked() (more bool) {
	q := &d.tx
	if !q.running() || d.heldBack || d.rested {
		return false
	}
	var err error
	defer func() { d.check(q, err) }()
	defer q.mem.Catch(guestmem.Arm(), &err)
	h, rest := d.patience.begin()
	if rest > 0 {
		d.rest(rest)
		return false
	}
	defer d.patience.end(h)
	q.ring.DisableNotify()
	n, bytes := 0, 0
	for ; n < txBatch && bytes < spin.BatchBytes && !d.heldBack && d.replies.Room(); n++ {
		var ok bool
		if ok, err = q.ring.Pop(&q.chain); !ok {
			break
		}
		sent, ok := d.send(&q.chain)
		if !ok {
			d.heldBack = true
			q.ring.Unpop()
			break
		}
		q.ring.Push(q.chain.Head, 0)
		d.moderated.returned += q.chain.Descriptors
		bytes += sent
	}
	d.badChains(q)
	// Even if n is 0: Pop may have come by bad chains, which go back too.
	d.returnTX(q.ring.Publish())
	return n > 0
}

// send passes one packet on, and says how long its payload is and whether Out took it. The
// header is read once, into our memory; the payload stays in the guest's.
func (d *Device) send(c *virtqueue.Chain) (n int, ok bool) {
	var hdr [packet.HeaderSize]byte
	from, length := d.takeLength(c)
	payload, ok := cut(hdr[:], c.Readable)
	if !ok {
		d.badPacket()
		return 0, true
	}
	p := &d.txPacket
	p.Payload = nil // a fault may have left the one before
	p.Decode(&hdr)
	if from != nil {
		p.Len = length
	}
	if p.Len > packet.MaxPayload || int(p.Len) > c.ReadLen-packet.HeaderSize {
		d.badPacket()
		return 0, true
	}
	if p.Len > 0 {
		p.Payload = trim(payload, int(p.Len))
	}
	switch _, ok = d.out.Take(p, d.waker); {
	case ok:
		d.from.add(int(p.Len))
	case from != nil:
		grow.ReturnLength(from, length)
	}
	p.Payload = nil
	return int(p.Len), ok
}

// takeLength takes the length of a packet that may grow, before the rest of it is read, and
// tells where it was: nil if this is no such packet.
func (d *Device) takeLength(c *virtqueue.Chain) (from []byte, length uint32) {
	if !d.grows() || len(c.Readable) == 0 {
		return nil, 0
	}
	length, ok := grow.TakeLength(c.Readable[0])
	if !ok {
		return nil, 0
	}
	return c.Readable[0], length
}

func (d *Device) badPacket() {
	d.badPackets.Add(1)
	d.patience.fault(1)
}

// badChains needs q.mu. It notes the chains that could not be used.
func (d *Device) badChains(q *queue) {
	if n := q.ring.BadChains() + q.badChains - d.noted; n > 0 {
		d.noted += n
		d.patience.fault(n)
	}
}

// check ends the session of a guest whose ring cannot be used any more.
func (d *Device) check(q *queue, err error) {
	if err != nil && !q.broken {
		q.broken = true
		d.ends[causeOf(err)].Add(1)
		d.fail(fmt.Errorf("device: CID %d: %w", d.cid.Load(), err))
	}
}
