package vswitch

import (
	"math"
	"sync"
	"sync/atomic"

	"vsockets.dev/internal/packet"
)

// backlog is the way from one guest to another. While the receiver has room, a
// packet goes straight from one's memory to the other's. When it has none, packets
// wait here, copied: a guest cannot be told to wait for another for long, since its one
// TX ring leads to all (see backpressure). What waits is what the sender has credit for,
// and the bytes are the sender's, whose Limits.Buffered bounds them.
//
// A connection that would exceed that is reset at both ends. The receiver's RST waits
// behind what it was sent before, and until it has gone nothing of that connection
// may follow.
type backlog struct {
	from, to *port

	busy  atomic.Bool   // something waits, and what comes goes behind it
	wakes atomic.Uint32 // counts Wake, to tell one that came too early

	pressure pressure

	mu       sync.Mutex
	queue    []*held
	bytes    int
	resets   map[flow]struct{} // those with an RST in the queue; by outbound
	waiting  bool              // the receiver refused, and will call Wake
	draining bool              // a goroutine is at work on the queue
}

// held is a packet that waits.
type held struct {
	packet.Packet
	cost int
}

// maxResets is how many connections may wait for their RST, beyond which a receiver
// that takes nothing does without that of a connection on which nothing was sent:
// it can ask for one such after another.
const maxResets = 1024

// heldOverhead is what a packet that waits costs besides its payload.
const heldOverhead = 256

// take passes a packet on, now or later. known says that an RST ends a connection
// that is there; any other is not worth waiting for.
func (b *backlog) take(p *packet.Packet, known bool) {
	sent, refused, wakes := 0, false, b.wakes.Load()
	if !b.busy.Load() {
		n, ok := b.to.to.Take(p, b)
		if ok {
			b.pressure.taken.Add(int64(p.Len) + heldOverhead)
			return
		}
		sent, refused = n, true
	}
	if !b.hold(p, sent, known) {
		b.overflow(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if refused && b.wakes.Load() == wakes {
		b.waiting = true
	}
	b.work()
}

// hold queues what is left of a packet, if the limits and its connection allow it.
func (b *backlog) hold(p *packet.Packet, sent int, known bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, reset := b.resets[outbound(&p.Header)]; reset {
		if p.Op == packet.OpRequest {
			return false
		}
		b.from.late(&p.Header, &b.from.counters.stray)
		return true // it comes too late
	}
	if p.Op == packet.OpReset && !known {
		return true
	}
	n := int(p.Len) - sent
	if !b.charge(n + heldOverhead) {
		return false
	}
	k := &held{Packet: packet.Packet{Header: p.Part(sent, n)}, cost: n + heldOverhead}
	if n > 0 {
		k.Payload = [][]byte{tail(p.Payload, sent, n)}
	}
	b.push(k)
	return true
}

// tail copies n bytes of segments, after the first skip.
func tail(segs [][]byte, skip, n int) []byte {
	b := make([]byte, 0, n)
	for _, s := range segs {
		k := min(skip, len(s))
		skip -= k
		b = append(b, s[k:]...)
	}
	return b
}

// push needs mu.
func (b *backlog) push(k *held) {
	b.queue = append(b.queue, k)
	b.busy.Store(true)
}

// charge needs mu. It takes bytes of the sender's allowance, if there are as many.
func (b *backlog) charge(n int) bool {
	limit := b.from.limits.Load().Buffered
	if limit >= 0 && b.bytes+n > limit/destinationShare {
		return false
	}
	if over(int(b.from.buffered.Add(int64(n))), limit) {
		b.from.buffered.Add(int64(-n))
		return false
	}
	b.bytes += n
	return true
}

// refund needs mu.
func (b *backlog) refund(n int) {
	b.bytes -= n
	b.from.buffered.Add(int64(-n))
}

// overflow resets the connection of a packet for which there is no room.
func (b *backlog) overflow(p *packet.Packet) {
	asked := b.to.flows.unanswered(inbound(&p.Header))
	opened := b.from.flows.end(outbound(&p.Header))
	accepted := b.to.flows.end(inbound(&p.Header))
	switch {
	case p.Op == packet.OpRequest: // for which nothing is on its way
		b.from.tooMany(&b.from.counters.overflow)
	case opened, accepted:
		b.from.counters.overflow.Add(1)
		b.from.forgive(outbound(&p.Header))
		b.to.forgive(inbound(&p.Header))
	default:
		b.from.late(&p.Header, &b.from.counters.overflow)
	}
	if h, ok := p.Refusal(); ok {
		b.from.to.Take(&packet.Packet{Header: h}, nil)
	}
	switch {
	case p.Op == packet.OpRequest: // the receiver has not heard of it
	case p.Op == packet.OpResponse, p.Op == packet.OpReset, asked:
		b.reset(p.Header, maxResets)
	case opened, accepted:
		b.reset(p.Header, math.MaxInt) // as many as there are connections
	}
}

// reset has the receiver get an RST for the connection of a packet, after all that
// waits for it already; unless there are so many.
func (b *backlog) reset(h packet.Header, limit int) {
	h.Op, h.Len, h.Flags = packet.OpReset, 0, 0
	b.mu.Lock()
	defer b.mu.Unlock()
	k := outbound(&h)
	if _, ok := b.resets[k]; ok || len(b.resets) >= limit {
		return
	}
	if b.resets == nil {
		b.resets = make(map[flow]struct{})
	}
	b.resets[k] = struct{}{}
	b.push(&held{Packet: packet.Packet{Header: h}})
	b.work()
}

// work needs mu. It sees to it that what waits goes, unless the receiver will wake us.
func (b *backlog) work() {
	if len(b.queue) > 0 && !b.waiting && !b.draining {
		b.draining = true
		go b.drain()
	}
}

// Wake says that the receiver has room.
func (b *backlog) Wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakes.Add(1)
	b.waiting = false
	b.work()
}

// drain passes on what waits, as far as the receiver has room. It has a goroutine
// of its own, so that others who wait for the receiver have their turn.
func (b *backlog) drain() {
	for {
		b.mu.Lock()
		if len(b.queue) == 0 {
			b.draining = false
			b.mu.Unlock()
			return
		}
		k, wakes := b.queue[0], b.wakes.Load()
		b.mu.Unlock()

		n, ok := b.to.to.Take(&k.Packet, b)

		var sender packet.Waker
		b.mu.Lock()
		if ok {
			b.pressure.taken.Add(int64(k.cost))
			sender = b.remove(k)
		} else {
			k.advance(n)
			if b.wakes.Load() == wakes {
				b.waiting, b.draining = true, false
				b.mu.Unlock()
				return
			}
		}
		b.mu.Unlock()
		if sender != nil {
			sender.Wake()
		}
	}
}

// remove needs mu. It takes a packet out that has gone, unless clear was faster. With the
// last one gone, it gives the sender that is to be woken, if one is held back.
func (b *backlog) remove(k *held) (sender packet.Waker) {
	if len(b.queue) == 0 || b.queue[0] != k {
		return nil
	}
	b.queue[0] = nil
	b.queue = b.queue[1:]
	b.refund(k.cost)
	if k.Op == packet.OpReset {
		delete(b.resets, outbound(&k.Header))
	}
	if len(b.queue) > 0 {
		return nil
	}
	return b.emptied()
}

// emptied needs mu. Nothing waits any more: it gives the sender as remove does.
func (b *backlog) emptied() (sender packet.Waker) {
	b.busy.Store(false)
	b.pressure.spent = false
	return b.release()
}

// advance notes that n bytes of the payload have gone.
func (k *held) advance(n int) {
	if n > 0 {
		k.Header = k.Part(n, int(k.Len)-n)
		k.Payload[0] = k.Payload[0][n:]
	}
}

// clear drops all that waits: the receiver has gone.
func (b *backlog) clear() {
	b.mu.Lock()
	for _, k := range b.queue {
		b.refund(k.cost)
	}
	b.queue, b.resets = nil, nil
	sender := b.emptied()
	b.mu.Unlock()
	if sender != nil {
		go sender.Wake() // which needs locks that our caller has
	}
}
