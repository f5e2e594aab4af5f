package driver

import (
	"fmt"
	"sync"
	"time"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// tx is the transmit queue. Whoever sends uses it, under mu.
type tx struct {
	d          *Driver
	kick, call *eventfd.Event

	mu      sync.Mutex
	ring    *virtqueue.Driver
	stopped bool
	waiters packet.Waiters // senders that found no room
	replies packet.Replies // those that nobody waits for, and found none

	free  idle
	next  [queueSize]uint16 // buffers of one packet are a list
	first [queueSize]uint16 // by head descriptor: the packet's first buffer

	tail grow.Tail // the packet that went last

	// The packet that put builds.
	header [packet.HeaderSize]byte
	chain  []virtqueue.Buffer
	buffer []byte // its last one
	room   []byte // what is left of that
	last   uint16 // which one that is
}

const noBuffer = queueSize // ends a list of buffers

func (t *tx) init(d *Driver) (err error) {
	t.d, t.replies = d, packet.NewReplies(maxReplies)
	if t.ring, err = d.newRing(txQueue); err != nil {
		return err
	}
	t.free = newIdle(queueSize)
	t.kick, t.call, err = doorbells()
	return err
}

// chunk is the most payload that goes as one packet. The device copies one while the
// next is being copied here.
const chunk = bufferSize - packet.HeaderSize

// Take sends a packet: it copies it to free buffers and hands them to the device.
func (d *Driver) Take(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	t := &d.tx
	t.mu.Lock()
	if t.replies.Len() > 0 {
		t.reply()
	}
	if t.stopped || t.tail.Add(p) {
		n, ok = int(p.Len), true
	} else {
		n, ok = t.send(p, w)
	}
	t.mu.Unlock()
	return n, ok
}

// send needs mu. It does what Take does with what is a packet of its own.
func (t *tx) send(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	for from := packet.CursorAt(p.Payload); ; {
		size := int(p.Len) - n
		if p.Type != packet.TypeDatagram { // that cannot be split
			size = min(size, chunk)
		}
		if err := t.reclaim(need(size)); err != nil {
			t.d.fail(err)
			return int(p.Len), true
		}
		if len(t.free) < need(size) {
			if w == nil || p.Type == packet.TypeDatagram { // nobody waits for it to go
				t.replies.Add(p)
				return int(p.Len), true
			}
			t.waiters.Add(w)
			return n, false
		}
		h := p.Part(n, size)
		if err := t.put(&h, &from); err != nil {
			t.d.fail(err)
			return int(p.Len), true
		}
		if t.ring.Publish() {
			_ = t.kick.Signal()
		}
		if n += size; n == int(p.Len) {
			return n, true
		}
	}
}

// maxReplies is how many replies to packets of no connection, an RST each, wait for room.
// With more, or a datagram, it is as with a network that is too slow: they are dropped.
const maxReplies = 64

// reply needs mu. It sends the replies that wait, as far as there is room.
func (t *tx) reply() {
	for t.replies.Len() > 0 && !t.stopped {
		err := t.reclaim(1)
		if err == nil && len(t.free) == 0 {
			return
		}
		var none packet.Cursor
		if err == nil {
			err = t.put(t.replies.First(), &none)
		}
		if err != nil {
			t.d.fail(err)
			return
		}
		t.replies.RemoveFirst()
		if t.ring.Publish() {
			_ = t.kick.Signal()
		}
	}
}

// need is how many buffers a payload takes.
func need(n int) int { return (packet.HeaderSize + n + bufferSize - 1) / bufferSize }

// reclaim needs mu. It takes buffers back that the device is done with, if it has so many
// that with n more they are not warm; if fewer than n are free then, it asks to be told.
func (t *tx) reclaim(n int) error {
	for len(t.free) < queueSize-warmTX+n {
		head, _, ok, err := t.ring.Used()
		if err != nil {
			return fmt.Errorf("driver: CID %d: transmit queue: %w", t.d.cid, err)
		}
		if !ok {
			if len(t.free) >= n || !t.ring.EnableNotify() {
				return nil
			}
			continue
		}
		for b := t.first[head]; b != noBuffer; b = t.next[b] {
			if b == t.last {
				t.tail.Clear() // a device that has not taken it gives it back
			}
			t.free.put(b)
		}
	}
	return nil
}

// put needs mu, and enough free buffers. It sends a packet with a header and the
// payload that follows in from.
func (t *tx) put(h *packet.Header, from *packet.Cursor) error {
	h.Encode(&t.header)
	t.tail.Clear()
	t.chain, t.room, t.last = t.chain[:0], nil, noBuffer
	if err := t.write(t.header[:]); err != nil {
		return err
	}
	first := t.last
	for n := int(h.Len); n > 0; {
		s := from.Next(n)
		if s == nil {
			break
		}
		n -= len(s)
		if err := t.write(s); err != nil {
			return err
		}
	}
	if t.d.grows && len(t.chain) == 1 && t.tail.Set(h, t.buffer) {
		t.chain[0].Len = bufferSize // the device looks at as much as the packet may become
	}
	head, ok := t.ring.Add(t.chain, nil)
	if !ok {
		return fmt.Errorf("driver: CID %d: the transmit queue has no descriptors for %d free buffers", t.d.cid, len(t.free))
	}
	t.first[head] = first
	return nil
}

// write needs mu. It appends bytes to the packet that put builds.
func (t *tx) write(b []byte) error {
	for len(b) > 0 {
		if len(t.room) == 0 {
			if err := t.extend(); err != nil {
				return err
			}
		}
		k := copy(t.room, b)
		t.room, b = t.room[k:], b[k:]
		t.chain[len(t.chain)-1].Len += uint32(k)
	}
	return nil
}

// extend needs mu. It adds a free buffer to the packet that put builds.
func (t *tx) extend() error {
	i := t.free.take()
	addr := t.d.layout.txBuffer(int(i))
	buffer, ok := t.d.mem.Slice(addr, bufferSize)
	if !ok {
		return fmt.Errorf("driver: buffer %d lies outside of the memory", i)
	}
	t.buffer, t.room = buffer, buffer
	t.chain = append(t.chain, virtqueue.Buffer{Addr: addr})
	if t.last != noBuffer {
		t.next[t.last] = i
	}
	t.next[i], t.last = noBuffer, i
	return nil
}

// flushPause is how long Flush waits before it looks again. The device takes what is
// in a ring at once, as a rule.
const flushPause = 100 * time.Microsecond

// Flush returns when the device has taken all that was sent, or the session or the
// time is over.
func (d *Driver) Flush(limit time.Duration) {
	for over := time.Now().Add(limit); d.tx.busy() && time.Now().Before(over); {
		time.Sleep(flushPause)
	}
}

// busy says whether the device has some of the buffers.
func (t *tx) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	if err := t.reclaim(queueSize); err != nil {
		t.d.fail(err)
		return false
	}
	return len(t.free) < queueSize
}

// loop sends the replies that wait, and wakes senders that wait, when the device has
// returned buffers.
func (t *tx) loop() {
	t.call.Serve(t.ready, func() {
		t.mu.Lock()
		t.reply()
		t.mu.Unlock()
		t.waiters.WakeFew(&t.mu)
	})
}

// ready says whether someone waits for buffers that are there. Another sender may
// have taken back those that the device returned, and left some.
func (t *tx) ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return (t.waiters.Len() > 0 || t.replies.Len() > 0 && !t.stopped) && (len(t.free) > 0 || t.ring.EnableNotify())
}

// stop drops all further packets, and lets go of those who wait.
func (t *tx) stop() {
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.waiters.WakeAll(&t.mu)
	if t.call != nil {
		t.call.Interrupt()
	}
}
