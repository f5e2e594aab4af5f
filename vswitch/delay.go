package vswitch

import (
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/packet"
)

// maxDelayed is how many packets an inbox holds up at a time. What comes beyond is
// lost, as in a network that is too slow for what is sent over it.
const maxDelayed = 1 << 16

// inbox is the way of packets to a context's stack. It can hold them up.
type inbox struct {
	to packet.Sink

	delay atomic.Int64 // nanoseconds; 0 with nothing held up lets packets through at once
	held  atomic.Int64 // how many are held up

	mu    sync.Mutex
	queue []delayed
	timer *time.Timer // runs while there is a queue
	ended bool
}

type delayed struct {
	due time.Time
	packet.Packet
}

// Take passes a packet on, now or later.
func (b *inbox) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	if b.delay.Load() == 0 && b.held.Load() == 0 {
		return b.to.Take(p, w)
	}
	b.hold(p)
	return int(p.Len), true
}

// hold keeps a copy of a packet, since its payload is borrowed.
func (b *inbox) hold(p *packet.Packet) {
	d := delayed{due: time.Now().Add(time.Duration(b.delay.Load())), Packet: packet.Packet{Header: p.Header}}
	var payload []byte
	for _, s := range p.Payload {
		payload = append(payload, s...)
	}
	if len(payload) > 0 {
		d.Payload = [][]byte{payload}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || len(b.queue) >= maxDelayed {
		return
	}
	b.queue = append(b.queue, d)
	b.held.Add(1)
	if len(b.queue) == 1 {
		b.timer = time.AfterFunc(time.Until(d.due), b.release)
	}
}

// release passes on what is due, in the order it came.
func (b *inbox) release() {
	for {
		b.mu.Lock()
		if b.ended || len(b.queue) == 0 {
			b.mu.Unlock()
			return
		}
		d := b.queue[0]
		if wait := time.Until(d.due); wait > 0 {
			b.timer = time.AfterFunc(wait, b.release)
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		b.to.Take(&d.Packet, nil) // a stack refuses nothing
		b.mu.Lock()
		if !b.ended {
			b.queue = b.queue[1:]
			b.held.Add(-1)
		}
		b.mu.Unlock()
	}
}

// end drops what is held up.
func (b *inbox) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.queue = true, nil
	if b.timer != nil {
		b.timer.Stop()
	}
}

// SetDelay holds up each packet for the context by so much, from now on, to try how
// a program fares with a slow peer. Packets keep their order. 0, the default, is
// none.
func (c *Context) SetDelay(d time.Duration) { c.inbox.delay.Store(int64(max(d, 0))) }
