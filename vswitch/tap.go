package vswitch

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/packet"
)

// Limits of a capture.
const (
	// DefaultSnapLen is how much of a packet's payload a capture keeps: the largest.
	DefaultSnapLen = packet.MaxPayload

	// MaxCaptured is how many packets wait for a capture's reader. Further ones are
	// not kept, but counted.
	MaxCaptured = 4096

	// maxCapturedBytes is how many bytes of payload do.
	maxCapturedBytes = 16 << 20
)

// CaptureConfig says what is captured. The zero value is everything.
type CaptureConfig struct {
	// SnapLen is how many bytes of payload are kept of each packet. Default:
	// DefaultSnapLen; none if it is negative.
	SnapLen int

	// Filter says whether a packet is wanted, by its encoded header (virtio 1.3
	// section 5.10.6). It is called for each packet, by many goroutines, and must
	// not block. Default: all are.
	Filter func(header *[packet.HeaderSize]byte) bool
}

// CapturedPacket is a packet that a context sent, or that the switch did in its
// name.
type CapturedPacket struct {
	Time    time.Time
	Header  [packet.HeaderSize]byte // as it was sent
	Payload []byte                  // as much as is kept
}

// Capture gets the packets of a switch: in the order they were sent in, those of one
// context, and before the answers to them. It keeps nobody waiting: what its reader
// does not take in time is dropped.
type Capture struct {
	sw  *Switch
	cfg CaptureConfig

	dropped atomic.Uint64

	mu     sync.Mutex
	queue  []*captured
	bytes  int
	ready  chan struct{} // of 1: the first of the queue is complete
	closed bool
}

// captured is a packet, which waits for its delivery to be over: then it is known
// how much of it went.
type captured struct {
	CapturedPacket
	done, void bool
}

// taps are the captures of a switch. Nil, as a pointer to it, is none: that is all
// that packets cost then.
type taps []*Capture

// Capture begins a capture. Close ends it.
func (sw *Switch) Capture(cfg CaptureConfig) (*Capture, error) {
	if cfg.SnapLen == 0 {
		cfg.SnapLen = DefaultSnapLen
	}
	c := &Capture{sw: sw, cfg: cfg, ready: make(chan struct{}, 1)}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.closed {
		return nil, ErrClosed
	}
	var all taps
	if old := sw.taps.Load(); old != nil {
		all = slices.Clone(*old)
	}
	all = append(all, c)
	sw.taps.Store(&all)
	return c, nil
}

// Close ends the capture, and Next once all is taken.
func (c *Capture) Close() {
	c.sw.mu.Lock()
	if old := c.sw.taps.Load(); old != nil {
		left := slices.DeleteFunc(slices.Clone(*old), func(t *Capture) bool { return t == c })
		if len(left) == 0 {
			c.sw.taps.Store(nil)
		} else {
			c.sw.taps.Store(&left)
		}
	}
	c.sw.mu.Unlock()
	c.mu.Lock()
	c.closed = true
	c.signal()
	c.mu.Unlock()
}

// endTaps ends all captures.
func (sw *Switch) endTaps() {
	if all := sw.taps.Load(); all != nil {
		for _, c := range *all {
			c.Close()
		}
	}
}

// Dropped tells how many packets were wanted, and not kept.
func (c *Capture) Dropped() uint64 { return c.dropped.Load() }

// Ready gives a value when Next may have something.
func (c *Capture) Ready() <-chan struct{} { return c.ready }

// Next appends what has been captured to a list, and says whether there may be
// more later.
func (c *Capture) Next(to []CapturedPacket) (_ []CapturedPacket, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.queue) && c.queue[n].done {
		if p := c.queue[n]; !p.void {
			c.bytes -= len(p.Payload)
			to = append(to, p.CapturedPacket)
		}
		n++
	}
	c.queue = slices.Delete(c.queue, 0, n)
	return to, !c.closed
}

// signal needs mu.
func (c *Capture) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// take delivers a packet, and captures it: its place is taken before, since what
// answers it may be sent meanwhile.
func (t taps) take(p *port, pkt *packet.Packet, w packet.Waker) (int, bool) {
	h := pkt.Header // which is changed on the way
	var placed []*captured
	for _, c := range t {
		placed = append(placed, c.place(&h))
	}
	n, ok := p.pass(pkt, w)
	if ok {
		n = int(h.Len)
	}
	for i, c := range t {
		if placed[i] != nil {
			c.complete(placed[i], &h, pkt.Payload, n, !ok && n == 0)
		}
	}
	return n, ok
}

// tap captures a packet that the switch makes.
func (sw *Switch) tap(h *packet.Header) {
	t := sw.taps.Load()
	if t == nil {
		return
	}
	for _, c := range *t {
		if p := c.place(h); p != nil {
			c.complete(p, h, nil, 0, false)
		}
	}
}

// place keeps a place for a packet, if it is wanted and there is one.
func (c *Capture) place(h *packet.Header) *captured {
	p := new(captured)
	h.Encode(&p.Header)
	if c.cfg.Filter != nil && !c.cfg.Filter(&p.Header) {
		return nil
	}
	p.Time = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil
	case len(c.queue) >= MaxCaptured, c.bytes >= maxCapturedBytes:
		c.dropped.Add(1)
		return nil
	}
	c.queue = append(c.queue, p)
	return p
}

// complete fills a place: with the first n bytes of a packet, or with nothing.
func (c *Capture) complete(p *captured, h *packet.Header, payload [][]byte, n int, void bool) {
	var kept []byte
	if n < int(h.Len) {
		part := h.Part(0, n)
		part.Encode(&p.Header) // nobody reads it before it is done
	}
	if left := min(n, c.cfg.SnapLen); left > 0 && !void {
		kept = make([]byte, 0, left)
		for _, s := range payload {
			k := min(len(s), left-len(kept))
			kept = append(kept, s[:k]...)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Payload, p.done, p.void = kept, true, void
	c.bytes += len(kept)
	if c.queue[0].done {
		c.signal()
	}
}
