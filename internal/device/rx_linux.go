package device

import (
	"errors"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
)

var errSmallBuffer = errors.New("a receive buffer of the driver has no room for more than a packet's header")

// Take puts a packet for the guest into its RX ring. A payload larger than the
// guest's buffers goes as several packets.
func (d *Device) Take(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	q := &d.rx
	q.mu.Lock()
	if !q.running() {
		q.mu.Unlock()
		d.answerForAbsent(p)
		return int(p.Len), true
	}
	defer q.mu.Unlock()
	var err error
	defer func() {
		if d.check(q, err); err != nil {
			n, ok = int(p.Len), true
		}
	}()
	defer guestmem.Catch(guestmem.Arm(), &err)

	n, ok, err = 0, false, d.putReplies()
	if err == nil && d.replies.empty() {
		n, ok, err = d.put(p)
	}
	d.publishRX()
	switch {
	case ok || err != nil:
	case w != nil:
		d.waiters.Add(w)
	default:
		if !d.replies.add(&p.Header) {
			d.dropped.Add(1)
		}
		ok = true
	}
	return n, ok
}

// answerForAbsent refuses a packet for a guest that is not there, so that whoever
// sent it need not wait.
func (d *Device) answerForAbsent(p *packet.Packet) {
	if p.Op == packet.OpReset {
		return
	}
	rst := packet.Packet{Header: p.Reply(packet.OpReset)}
	d.out.Take(&rst, nil)
}

// publishRX needs rx.mu. It shows the guest what was put.
func (d *Device) publishRX() {
	if d.rx.ring.Publish() {
		d.rx.signal()
	}
}

// putReplies needs rx.mu. It puts the replies that wait, as far as there is room.
func (d *Device) putReplies() error {
	for !d.replies.empty() {
		_, ok, err := d.put(&packet.Packet{Header: d.replies.first()})
		if !ok || err != nil {
			return err
		}
		d.replies.removeFirst()
	}
	return nil
}

// put needs rx.mu. It fills buffers of the guest with p: all of it, or the first
// n bytes of the payload if the guest has no more buffers.
func (d *Device) put(p *packet.Packet) (n int, ok bool, err error) {
	from := cursor{segs: p.Payload}
	for {
		if ok, err := d.popRX(); !ok || err != nil {
			return n, false, err
		}
		rest := int(p.Len) - n
		room := d.rxChain.WriteLen - packet.HeaderSize
		if room < min(rest, 1) {
			return n, false, errSmallBuffer
		}
		h := p.Header
		if h.Len = uint32(min(rest, room)); rest > room && h.Op == packet.OpRW {
			h.Flags = 0 // a mark of the end of a message belongs to its last packet
		}
		h.Encode(&d.rxHeader)
		to := cursor{segs: d.rxChain.Writable}
		to.write(d.rxHeader[:])
		to.copyFrom(&from, int(h.Len))
		d.rx.ring.Push(d.rxChain.Head, packet.HeaderSize+h.Len)
		n += int(h.Len)
		if n == int(p.Len) {
			return n, true, nil
		}
	}
}

// popRX needs rx.mu. It takes a buffer of the guest. When there is none it asks
// for a kick, and looks again, since the guest may have been faster.
func (d *Device) popRX() (bool, error) {
	ring := d.rx.ring
	for range 2 {
		if ok, err := ring.Pop(&d.rxChain); ok || err != nil {
			return ok, err
		}
		if !ring.EnableNotify() {
			break
		}
	}
	return false, nil
}

// rxLoop gives room to those who wait for it, until kick is interrupted.
func (d *Device) rxLoop(kick *eventfd.Event) {
	kick.Serve(d.rxReady, d.rxRoom)
}

// rxReady says whether someone waits for buffers that are there.
func (d *Device) rxReady() (ready bool) {
	q := &d.rx
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	defer func() { d.check(q, err) }()
	defer guestmem.Catch(guestmem.Arm(), &err)
	if !q.running() || d.waiters.Len() == 0 && d.replies.empty() {
		return false
	}
	return q.ring.HasAvail() || q.ring.EnableNotify()
}

// rxRoom puts the replies that wait, wakes the senders that wait, and takes up
// TX where it rested for want of room for replies.
func (d *Device) rxRoom() {
	d.flushReplies()
	d.wakeWaiters()
	d.sendAll()
}

func (d *Device) flushReplies() {
	q := &d.rx
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	defer func() { d.check(q, err) }()
	defer guestmem.Catch(guestmem.Arm(), &err)
	if q.running() {
		q.ring.DisableNotify()
		err = d.putReplies()
		d.publishRX()
	}
}

// wakeWaiters wakes those who wait now. They may come to wait again.
func (d *Device) wakeWaiters() {
	d.rx.mu.Lock()
	n := d.waiters.Len()
	d.rx.mu.Unlock()
	for ; n > 0; n-- {
		d.rx.mu.Lock()
		w := d.waiters.Pop()
		d.rx.mu.Unlock()
		if w != nil {
			w.Wake()
		}
	}
}

// forget drops what waited for a guest that has left. Those who wait find it absent.
func (d *Device) forget() {
	d.rx.mu.Lock()
	d.replies.clear()
	d.rx.mu.Unlock()
	d.wakeWaiters()
}
