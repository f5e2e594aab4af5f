package driver

import (
	"fmt"
	"sync"
	"time"

	"vsockets.dev/internal/bulk"
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

	free     idle
	rotation rotation          // of these
	buffer   [queueSize]uint16 // by descriptor: which buffer it holds

	tail     grow.Tail // the packet that went last
	tailIn   uint16    // its buffer
	tailSize int       // and its payload
}

func (t *tx) init(d *Driver) (err error) {
	t.d, t.replies = d, packet.NewReplies(maxReplies)
	if t.ring, err = d.newRing(txQueue); err != nil {
		return err
	}
	t.free, t.rotation = newIdle(queueSize), newRotation(txRotation)
	t.kick, t.call, err = doorbells()
	return err
}

// Take sends a packet: it copies it to a free buffer and hands that to the device.
func (d *Driver) Take(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	t := &d.tx
	t.mu.Lock()
	switch {
	case t.stopped:
		ok = true
	case t.replies.Len() > 0 && !t.reply(): // those go first
		ok = t.refuse(p, w)
	case t.tail.Add(p):
		ok = true
		t.tailSize += int(p.Len)
	default:
		ok = t.send(p) || t.refuse(p, w)
	}
	t.mu.Unlock()
	if ok {
		n = int(p.Len)
	}
	return n, ok
}

// send needs mu. It sends what is a packet of its own, unless there is no room, of which the
// device is asked to tell. With a session that fails, the packet goes.
func (t *tx) send(p *packet.Packet) (ok bool) {
	err := t.reclaim(1)
	switch {
	case err != nil:
	case len(t.free) == 0:
		return false
	default:
		err = t.put(p)
	}
	if err != nil {
		t.d.fail(err)
	}
	return true
}

// refuse needs mu. It does what Take does without room.
func (t *tx) refuse(p *packet.Packet, w packet.Waker) (ok bool) {
	if w == nil || p.Type == packet.TypeDatagram { // nobody waits for it to go
		t.replies.Add(p)
		return true
	}
	t.waiters.Add(w)
	return false
}

// maxReplies is how many replies to packets of no connection, an RST each, wait for room.
// With more, or a datagram, it is as with a network that is too slow: they are dropped.
const maxReplies = 64

// reply needs mu. It sends the replies that wait, as far as there is room, and says whether
// all have gone.
func (t *tx) reply() bool {
	for t.replies.Len() > 0 && !t.stopped && t.send(t.replies.First()) {
		t.replies.RemoveFirst()
	}
	return t.replies.Len() == 0
}

// reclaim needs mu. It takes buffers back that the device is done with, if it has so many
// that with n more they are not those that go round; if fewer than n are free then, it asks to
// be told.
func (t *tx) reclaim(n int) error {
	for len(t.free) < queueSize-t.rotation.buffers()+n {
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
		b := t.buffer[head]
		if b == t.tailIn {
			t.tail.Clear() // a device that has not taken it gives it back
		}
		t.free.put(b)
	}
	return nil
}

// put needs mu, and a free buffer. It sends a packet, whose payload is MaxPayload at most.
func (t *tx) put(p *packet.Packet) error {
	i := t.free.take()
	addr := t.d.layout.txBuffer(int(i))
	b, ok := t.d.mem.Slice(addr, bufferSize)
	if !ok {
		return fmt.Errorf("driver: buffer %d lies outside of the memory", i)
	}
	p.Encode((*[packet.HeaderSize]byte)(b))
	rest := b[packet.HeaderSize:]
	for _, s := range p.Payload {
		rest = rest[bulk.Copy(rest, s):]
	}
	n := packet.HeaderSize + p.Len
	t.tail.Clear()
	if t.d.grows && t.tail.Set(&p.Header, b) {
		n = bufferSize // the device looks at as much as the packet may become
	}
	t.rotation.moved(t.tailSize) // what is put now may grow yet
	t.tailIn, t.tailSize = i, int(p.Len)
	head, ok := t.ring.Add([]virtqueue.Buffer{{Addr: addr, Len: n}}, nil)
	if !ok {
		return fmt.Errorf("driver: CID %d: the transmit queue has no descriptors for %d free buffers", t.d.cid, len(t.free))
	}
	t.buffer[head] = i
	if t.ring.Publish() {
		_ = t.kick.Signal()
	}
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
