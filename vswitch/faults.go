package vswitch

import (
	"sync/atomic"

	"vsockets.dev/internal/packet"
)

// Whoever breaks rules over and over is heard less (internal/device/patience.go). That must not
// happen to a context for what another one does. So a fault is only what nobody else can
// have had it do: not that a destination refuses or takes nothing, and not what it had
// sent when a connection was reset from the other end. That its requests are too many, or go
// where nobody is, may be for what others do; but nobody makes it try more often than a
// program that waits: so these weigh less.

// inFlight is how many packets of a connection may still come when it has been reset:
// four times what the largest queue holds (virtqueue.MaxSize), since a guest goes on to
// fill it until it has looked at what came. maxGrace is how many are forgiven in all,
// those of 64 connections that are reset at once.
const (
	inFlight = 4096
	maxGrace = 64 * inFlight
)

// refusalsPerFault is how many packets that the switch has to refuse are a fault. A program
// that tries again when it is refused, and waits between, does not come near what it takes
// to be heard less.
const refusalsPerFault = 10

// tooMany counts a request beyond the limits, or for which its destination has no room.
func (p *port) tooMany(rule *atomic.Uint64) {
	if n := rule.Add(1); n%refusalsPerFault == 0 && p.fault != nil {
		p.fault()
	}
}

// astray counts a packet to where there is nobody, or nobody that may be talked to. Who it was for
// may just have left; and a datagram is not answered, so that its sender does not know.
func (p *port) astray(pkt *packet.Packet, rule *atomic.Uint64) {
	switch {
	case pkt.Type == packet.TypeDatagram, p.forgiven():
		rule.Add(1)
	default:
		p.tooMany(rule)
	}
}

// broke counts that the context broke a rule.
func (p *port) broke(rule *atomic.Uint64) {
	rule.Add(1)
	if p.fault != nil {
		p.fault()
	}
}

// late counts a packet of no connection. It may be one of a connection that has just been
// reset, or from before the context was told of its new CID.
func (p *port) late(rule *atomic.Uint64) {
	if p.forgiven() {
		rule.Add(1)
		return
	}
	p.broke(rule)
}

// forgiven says whether a packet is one of those that are no fault.
func (p *port) forgiven() bool {
	for n := p.grace.Load(); n > 0; n = p.grace.Load() {
		if p.grace.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// forgive is called when another ends a connection of the context.
func (p *port) forgive() { p.forgiveSome(inFlight) }

// forgiveSome has so many packets be no fault, inFlight at most.
func (p *port) forgiveSome(packets uint64) {
	more := int64(min(packets, inFlight))
	for n := p.grace.Load(); more > 0 && n < maxGrace; n = p.grace.Load() {
		if p.grace.CompareAndSwap(n, min(n+more, maxGrace)) {
			return
		}
	}
}
