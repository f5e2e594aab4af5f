package device

import (
	"errors"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
)

var (
	errSmallBuffer = errors.New("a receive buffer of the driver has no room for more than a packet's header")
	errNoBuffers   = errors.New("the driver offers receive buffers faster than they can be found to be unusable")
)

// Take puts a packet for the guest into its RX ring. A payload larger than the
// guest's buffers goes as several packets.
func (d *Device) Take(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	n, ok, present := d.takePresent(p, w)
	if !present {
		d.answerForAbsent(p)
		return int(p.Len), true
	}
	return n, ok
}

// takePresent is Take for a guest that is there, and knows the packet's type.
func (d *Device) takePresent(p *packet.Packet, w packet.Waker) (n int, ok, present bool) {
	q := &d.rx
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !q.running() || !d.speaks(p.Type):
		return 0, false, false
	case d.replies.Len() == 0 && q.tail.Accepts(p) && d.extend(p):
		return int(p.Len), true, true
	}
	n, ok = d.give(p, w)
	return n, ok, true
}

// give needs rx.mu, and a queue that runs. It does what Take does with what is a packet of
// its own.
func (d *Device) give(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	q := &d.rx
	var err error
	defer func() {
		q.giveBack() // p may lie in memory that was taken away, which is not this guest's fault
		if d.check(q, err); err != nil {
			n, ok = int(p.Len), true
		}
	}()
	defer q.mem.Catch(guestmem.Arm(), &err)

	n, ok, err = 0, false, d.putReplies()
	if err == nil && d.replies.Len() == 0 {
		n, ok, err = d.put(p)
	}
	d.publishRX()
	switch {
	case ok || err != nil:
	case w != nil:
		d.waiters.Add(w)
	default:
		if !d.replies.Add(p) {
			d.dropped.Add(1)
		}
		n, ok = int(p.Len), true
	}
	return n, ok
}

// speaks says whether the guest's driver knows a type of socket. Streams are implied.
func (d *Device) speaks(t packet.Type) bool {
	switch t {
	case packet.TypeSeqpacket:
		return d.features.Load()&featureSeqpacket != 0
	case packet.TypeDatagram:
		return d.features.Load()&featureDatagram != 0
	}
	return true
}

// extend needs rx.mu, and a queue that runs. It adds p to the last packet in the ring,
// which accepts it, if the guest has not taken that.
func (d *Device) extend(p *packet.Packet) (ok bool) {
	q := &d.rx
	var err error
	defer func() {
		if d.check(q, err); err != nil {
			ok = true // as give has it: p goes with the guest
		}
	}()
	defer q.mem.Catch(guestmem.Arm(), &err)
	if ok = q.tail.Append(p); ok {
		d.to.Bytes += uint64(p.Len)
	}
	return ok
}

// grows says whether packets grow while they wait in a ring.
func (d *Device) grows() bool { return d.features.Load()&featureGrow != 0 }

// answerForAbsent refuses a packet for a guest that is not there, or does not know
// its type, so that whoever sent it need not wait.
func (d *Device) answerForAbsent(p *packet.Packet) {
	if h, ok := p.Refusal(); ok {
		d.out.Take(&packet.Packet{Header: h}, nil)
	}
}

// publishRX needs rx.mu. It shows the guest what was put.
func (d *Device) publishRX() {
	if d.rx.ring.Publish() {
		d.signal(&d.rx)
	}
}

// putReplies needs rx.mu. It puts the replies that wait, as far as there is room.
func (d *Device) putReplies() error {
	for d.replies.Len() > 0 {
		_, ok, err := d.put(d.replies.First())
		if !ok || err != nil {
			return err
		}
		d.replies.RemoveFirst()
		d.madeRoom()
	}
	return nil
}

// put needs rx.mu. It fills buffers of the guest with p: all of it, or the first
// n bytes of the payload if the guest has no more buffers.
func (d *Device) put(p *packet.Packet) (n int, ok bool, err error) {
	q := &d.rx
	from := cursorAt(p.Payload)
	for shown := 0; ; {
		if ok, err := d.popRX(); !ok || err != nil {
			return n, false, err
		}
		rest := int(p.Len) - n
		room := q.chain.WriteLen - packet.HeaderSize
		if room < min(rest, 1) {
			return n, false, errSmallBuffer
		}
		if rest > room && p.Type == packet.TypeDatagram {
			q.giveBack() // it cannot be split
			d.dropped.Add(1)
			return rest, true, nil
		}
		h := p.Part(n, min(rest, room))
		h.Encode(&d.rxHeader)
		q.tail.Clear()
		to := cursorAt(q.chain.Writable)
		to.write(d.rxHeader[:])
		to.copyFrom(&from, int(h.Len))
		q.ring.Push(q.chain.Head, packet.HeaderSize+h.Len)
		q.held = false
		if d.grows() {
			first := q.chain.Writable[0]
			q.tail.Set(&h, first[:min(len(first), packet.HeaderSize+packet.MaxPayload)])
		}
		d.to.add(int(h.Len))
		n += int(h.Len)
		if n == int(p.Len) {
			return n, true, nil
		}
		if n-shown >= showEach {
			d.publishRX()
			shown = n
		}
	}
}

// showEach is how much is shown to the guest at a time, about, where its buffers are small:
// it copies some while the next is being copied here.
const showEach = 16 << 10

// popRX needs rx.mu. It takes a buffer of the guest. When there is none it asks
// for a kick, and looks again, since the guest may have been faster. A guest that
// is faster twice has offered chains that cannot be used: the caller must not wait
// for a kick that may not come, nor go through them for as long as there are any.
func (d *Device) popRX() (ok bool, err error) {
	q := &d.rx
	for range 2 {
		if q.held, err = q.ring.Pop(&q.chain); q.held || err != nil {
			return q.held, err
		}
		if !q.ring.EnableNotify() {
			return false, nil
		}
	}
	return false, errNoBuffers
}

// rxLoop gives room to those who wait for it, until kick is interrupted.
func (d *Device) rxLoop(kick *eventfd.Event) {
	kick.Serve(d.rxReady, d.rxRoom)
}

// rxReady says whether someone waits for buffers that are there, and asks for a
// kick if there are none.
func (d *Device) rxReady() (ready bool) {
	q := &d.rx
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running() || d.waiters.Len() == 0 && d.replies.Len() == 0 {
		return false
	}
	var err error
	defer func() { d.check(q, err) }()
	defer q.mem.Catch(guestmem.Arm(), &err)
	return q.ring.HasAvail() || q.ring.EnableNotify()
}

// rxRoom puts the replies that wait, and wakes senders that wait. Both are called again
// while rxReady says that there is cause.
func (d *Device) rxRoom() {
	d.flushReplies()
	d.waiters.WakeFew(&d.rx.mu)
}

func (d *Device) flushReplies() {
	q := &d.rx
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running() {
		return
	}
	var err error
	defer func() { d.check(q, err) }()
	defer q.mem.Catch(guestmem.Arm(), &err)
	q.ring.DisableNotify()
	err = d.putReplies()
	d.publishRX()
}

// forget drops what waited for a guest that has left. Those who wait find it absent.
func (d *Device) forget() {
	d.rx.mu.Lock()
	d.replies.Clear()
	d.rx.mu.Unlock()
	d.madeRoom()
	d.waiters.WakeAll(&d.rx.mu)
}
