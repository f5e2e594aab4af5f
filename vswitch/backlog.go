package vswitch

import (
	"sync"
	"sync/atomic"

	"vsockets.dev/internal/packet"
)

// backlog is the way from one guest to another. While the receiver has room, a
// packet goes straight from one's memory to the other's. When it has none, packets
// wait here, copied: a guest cannot be told to wait for another, since its one TX
// ring leads to all. What waits is what the sender has credit for, and the bytes
// are the sender's, whose Limits.Buffered bounds them.
//
// A connection that would exceed that is reset at both ends. None of its later
// packets may follow then, so the flow is noted until the receiver has its RST.
type backlog struct {
	from, to *port

	busy  atomic.Bool   // something waits, and what comes goes behind it
	wakes atomic.Uint32 // counts Wake, to tell one that came too early

	mu       sync.Mutex
	queue    []*held
	bytes    int
	resets   map[flow]packet.Header // RST for the receiver, after the queue; by outbound
	waiting  bool                   // the receiver refused, and will call Wake
	draining bool                   // a goroutine is at work on the queue
}

// held is a packet that waits.
type held struct {
	packet.Packet
	cost int
}

// heldOverhead is what a packet that waits costs besides its payload.
const heldOverhead = 256

// take passes a packet on, now or later. known says that an RST ends a connection
// that is there; any other is not worth waiting for.
func (b *backlog) take(p *packet.Packet, known bool) {
	sent, refused, wakes := 0, false, b.wakes.Load()
	if !b.busy.Load() {
		n, ok := b.to.to.Take(p, b)
		if ok {
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

// hold queues what is left of a packet, if the limits allow it.
func (b *backlog) hold(p *packet.Packet, sent int, known bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, reset := b.resets[outbound(&p.Header)]; reset {
		return true // it comes too late
	}
	if p.Op == packet.OpReset && !known {
		return true
	}
	k := &held{Packet: packet.Packet{Header: p.Part(sent, int(p.Len)-sent)}, cost: int(p.Len) - sent + heldOverhead}
	if !b.charge(k.cost) {
		return false
	}
	if k.Len > 0 {
		payload := make([]byte, 0, k.Len)
		for _, s := range p.Payload {
			skip := min(sent, len(s))
			sent -= skip
			payload = append(payload, s[skip:]...)
		}
		k.Payload = [][]byte{payload}
	}
	b.queue = append(b.queue, k)
	b.busy.Store(true)
	return true
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
	b.from.counters.overflow.Add(1)
	opened := b.from.flows.end(outbound(&p.Header))
	if accepted := b.to.flows.end(inbound(&p.Header)); !opened && !accepted && p.Op != packet.OpReset {
		return // of no connection
	}
	if h, ok := p.Refusal(); ok {
		b.from.to.Take(&packet.Packet{Header: h}, nil)
	}
	if p.Op != packet.OpRequest { // of that the receiver has not heard
		b.reset(p.Header)
	}
}

// reset has the receiver get an RST for the connection of a packet, after all that
// waits for it already.
func (b *backlog) reset(h packet.Header) {
	h.Op, h.Len, h.Flags = packet.OpReset, 0, 0
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.resets == nil {
		b.resets = make(map[flow]packet.Header)
	}
	b.resets[outbound(&h)] = h
	b.busy.Store(true)
	b.work()
}

// work needs mu. It sees to it that what waits goes, unless the receiver will wake us.
func (b *backlog) work() {
	if len(b.queue)+len(b.resets) > 0 && !b.waiting && !b.draining {
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
		k, rst := b.next()
		if k == nil {
			b.draining = false
			b.busy.Store(false)
			b.mu.Unlock()
			return
		}
		wakes := b.wakes.Load()
		b.mu.Unlock()

		n, ok := b.to.to.Take(&k.Packet, b)

		b.mu.Lock()
		switch {
		case ok && rst:
			delete(b.resets, outbound(&k.Header))
		case ok:
			b.remove(k)
		default:
			k.advance(n)
			if b.wakes.Load() == wakes {
				b.waiting, b.draining = true, false
				b.mu.Unlock()
				return
			}
		}
		b.mu.Unlock()
	}
}

// next needs mu. It gives what goes next, nil if nothing waits.
func (b *backlog) next() (k *held, rst bool) {
	if len(b.queue) > 0 {
		return b.queue[0], false
	}
	for _, h := range b.resets {
		return &held{Packet: packet.Packet{Header: h}}, true
	}
	return nil, false
}

// remove needs mu. It takes a packet out, which clear may have done before.
func (b *backlog) remove(k *held) {
	if len(b.queue) > 0 && b.queue[0] == k {
		b.queue[0] = nil
		b.queue = b.queue[1:]
		b.refund(k.cost)
	}
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
	defer b.mu.Unlock()
	for _, k := range b.queue {
		b.refund(k.cost)
	}
	b.queue, b.resets = nil, nil
	b.busy.Store(false)
}
