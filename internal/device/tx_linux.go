package device

import (
	"fmt"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// txBatch is how many packets are taken from the guest before it gets their
// buffers back and is signalled.
const txBatch = 64

// txLoop takes what the guest sends, until kick is interrupted.
func (d *Device) txLoop(kick *eventfd.Event) {
	kick.Serve(d.txReady, d.sendAll)
}

// txReady says whether there is something to take, and asks for a kick if not.
func (d *Device) txReady() (ready bool) {
	q := &d.tx
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	defer func() { d.check(q, err) }()
	defer guestmem.Catch(guestmem.Arm(), &err)
	return q.running() && d.replies.room() && (q.ring.HasAvail() || q.ring.EnableNotify())
}

// sendAll passes on all that the guest has to send. Any goroutine may call it.
func (d *Device) sendAll() {
	for d.sendBatch() {
	}
}

func (d *Device) sendBatch() (more bool) {
	q := &d.tx
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	defer func() { d.check(q, err) }()
	defer guestmem.Catch(guestmem.Arm(), &err)
	if !q.running() {
		return false
	}
	q.ring.DisableNotify()
	n := 0
	for ; n < txBatch && d.replies.room(); n++ {
		var ok bool
		if ok, err = q.ring.Pop(&d.txChain); !ok {
			break
		}
		d.send(&d.txChain)
		q.ring.Push(d.txChain.Head, 0)
	}
	if n > 0 && q.ring.Publish() {
		q.signal()
	}
	return n == txBatch
}

// send passes one packet on. The header is read once, into our memory; the
// payload stays in the guest's.
func (d *Device) send(c *virtqueue.Chain) {
	var hdr [packet.HeaderSize]byte
	payload, ok := cut(hdr[:], c.Readable)
	if !ok {
		d.badPackets.Add(1)
		return
	}
	p := &d.txPacket
	p.Decode(&hdr)
	if p.Len > packet.MaxPayload || int(p.Len) > c.ReadLen-packet.HeaderSize {
		d.badPackets.Add(1)
		return
	}
	if p.Len > 0 {
		p.Payload = trim(payload, int(p.Len))
	}
	d.out.Take(p, nil)
	p.Payload = nil
}

// check ends the session of a guest whose ring cannot be used any more.
func (d *Device) check(q *queue, err error) {
	if err != nil && !q.broken {
		q.broken = true
		d.fail(fmt.Errorf("device: CID %d: %w", d.cid.Load(), err))
	}
}
