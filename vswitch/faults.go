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

// refusalsPerFault is how many packets that the switch has to refuse are a fault. A program
// that tries again when it is refused, and waits between, does not come near what it takes
// to be heard less.
const refusalsPerFault = 10

// tooMany counts a request beyond the limits, or for which its destination has no room.
func (p *port) tooMany(rule *atomic.Uint64) {
	rule.Add(1)
	if p.refusals.Add(1)%refusalsPerFault == 0 && p.fault != nil {
		p.fault()
	}
}

// astray counts a packet to where there is nobody, or nobody that may be talked to. Who it was for
// may just have left; and a datagram is not answered, so that its sender does not know.
func (p *port) astray(h *packet.Header, rule *atomic.Uint64) {
	switch {
	case h.Type == packet.TypeDatagram, p.grace.forgives(h):
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
// reset.
func (p *port) late(h *packet.Header, rule *atomic.Uint64) {
	if p.grace.forgives(h) {
		rule.Add(1)
		return
	}
	p.broke(rule)
}

// forged counts a packet with another's CID. It may be from before the context was told
// of its new one.
func (p *port) forged(h *packet.Header) {
	if p.grace.forgivesName(h) {
		p.counters.forged.Add(1)
		return
	}
	p.broke(&p.counters.forged)
}

// forgive is called when another ends a connection of the context, as that sees it.
func (p *port) forgive(k flow) {
	if p.fault != nil {
		p.grace.flow(k)
	}
}

// forgiveTo is called when a context leaves to which there were so many connections.
func (p *port) forgiveTo(cid uint32, connections int) {
	if p.fault != nil && connections > 0 {
		p.grace.cid(cid, min(connections, graceBurst)*inFlight)
	}
}
