package driver

import (
	"fmt"
	"sync"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/virtqueue"
)

// rxBatch is how many packets are taken before their buffers go back, at most;
// spin.BatchBytes ends a batch too.
const rxBatch = 32

// rx is the receive queue. Its goroutine takes what arrives, or whoever polls it.
type rx struct {
	d          *Driver
	kick, call *eventfd.Event

	mu       sync.Mutex
	pollers  int  // who polls; the device is not asked for a signal
	over     bool // the ring is broken, or about to be unmapped
	ring     *virtqueue.Driver
	left     spin.Leftover
	turns    spin.Turns
	buffer   [queueSize]uint16 // by descriptor: which buffer it holds
	spare    idle
	rotation rotation // of these, while someone polls
	packet   packet.Packet
	segment  [1][]byte
}

func (r *rx) init(d *Driver) (err error) {
	r.d = d
	if r.ring, err = d.newRing(rxQueue); err != nil {
		return err
	}
	r.spare = newIdle(queueSize)
	r.rotation = newRotation(rxRotation)
	r.kick, r.call, err = doorbells()
	return err
}

func (d *Driver) newRing(i int) (*virtqueue.Driver, error) {
	a := d.layout.rings[i]
	return virtqueue.NewDriver(d.mem, virtqueue.Config{
		Size: queueSize, Desc: a.desc, Avail: a.avail, Used: a.used,
		EventIdx: d.frontend.Features()&featureEventIdx != 0,
	})
}

func doorbells() (kick, call *eventfd.Event, err error) {
	if kick, err = eventfd.New(); err != nil {
		return nil, nil, err
	}
	call, err = eventfd.New()
	return kick, call, err
}

// fill gives buffers to the device, and shows them to it: those that go round while someone
// polls, who takes what arrives at once, and all of them otherwise.
func (r *rx) fill() {
	n := queueSize
	if r.pollers > 0 {
		n = r.rotation.buffers()
	}
	for queueSize-len(r.spare) < n {
		r.give(r.spare.take())
	}
	if r.ring.Publish() {
		_ = r.kick.Signal()
	}
}

// give makes a buffer available to the device. There is a descriptor for each of them.
func (r *rx) give(i uint16) {
	b := [1]virtqueue.Buffer{{Addr: r.d.layout.rxBuffer(int(i)), Len: bufferSize}}
	head, _ := r.ring.Add(nil, b[:])
	r.buffer[head] = i
}

// loop takes what arrives, until stop. More may come at once, so that is looked for
// without a signal for a short time.
func (r *rx) loop() {
	r.call.Serve(r.ready, func() {
		spin.Batches(rxSource{r})
		spin.Linger(r.d)
	})
}

// rxSource is rx as a spin.Source.
type rxSource struct{ r *rx }

// Ready implements spin.Source.
func (s rxSource) Ready() bool { return s.r.ready() }

// TakeSome implements spin.Source.
func (s rxSource) TakeSome() bool { return s.r.take() }

// Turns implements spin.Source.
func (s rxSource) Turns() *spin.Turns { return &s.r.turns }

// take passes on some of what has arrived.
func (r *rx) take() (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked()
}

func (r *rx) takeLocked() (more bool) {
	if r.over {
		return false
	}
	more, err := r.batch()
	if err != nil {
		r.over = true
		r.d.fail(fmt.Errorf("driver: CID %d: receive queue: %w", r.d.cid, err))
		r.call.Interrupt() // at once: nothing of this ring is to be trusted
	}
	return more
}

// stop ends all use of the ring, also by those who poll it.
func (r *rx) stop() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	if r.call != nil {
		r.call.Interrupt()
	}
}

// ready says whether something has arrived. If not, and nobody polls, it asks for a signal,
// and leaves all buffers to the device.
func (r *rx) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
		return false
	case r.pollers > 0:
		return r.ring.HasUsed()
	}
	r.fill()
	return r.ring.EnableNotify()
}

// batch needs mu. It takes some packets and gives their buffers back; it says
// whether there were any.
func (r *rx) batch() (more bool, err error) {
	r.ring.DisableNotify()
	n, bytes := 0, 0
	for ; n < rxBatch && bytes < spin.BatchBytes; n++ {
		head, written, ok, err := r.ring.Used()
		if err != nil {
			return false, err
		}
		if !ok {
			break
		}
		i := r.buffer[head]
		if err := r.arrive(i, int(written)); err != nil {
			return false, err
		}
		r.spare.put(i)
		bytes += int(r.packet.Len)
	}
	if n > 0 {
		r.fill()
	}
	return n > 0, nil
}

// arrive passes on the packet in a buffer. The device writes the buffer, so the
// header is read once.
func (r *rx) arrive(i uint16, written int) error {
	size := written
	if r.d.grows {
		size = bufferSize
	}
	b, ok := r.d.mem.Slice(r.d.layout.rxBuffer(int(i)), uint64(size))
	if !ok || written < packet.HeaderSize {
		return fmt.Errorf("a packet of %d bytes, which is less than a header", written)
	}
	hdr := [packet.HeaderSize]byte(b)
	p := &r.packet
	p.Decode(&hdr)
	if r.d.grows {
		p.Len, _ = grow.TakeLength(b) // our buffers are aligned
	}
	if int(p.Len) > size-packet.HeaderSize || p.Len > packet.MaxPayload {
		return fmt.Errorf("a packet of %d bytes claims a payload of %d", size, p.Len)
	}
	p.Payload = nil
	if p.Len > 0 {
		r.segment[0] = b[packet.HeaderSize:][:p.Len]
		p.Payload = r.segment[:]
	}
	if p.DstCID == uint64(r.d.cid) {
		r.d.in.Take(p, nil)
	}
	if r.pollers > 0 { // or else all go round
		r.rotation.moved(int(p.Len))
	}
	return nil
}
