package vswitch

import (
	"sync/atomic"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/stack"
	"vsockets.dev/vsock"
)

// Counters count what a context did that the switch did not pass on, and which rules it
// broke.
type Counters struct {
	Forged      uint64 `json:"forged"`      // source CID not the context's own: dropped
	Invalid     uint64 `json:"invalid"`     // no such type or op: answered with RST
	Unreachable uint64 `json:"unreachable"` // no such destination CID: answered with RST
	Denied      uint64 `json:"denied"`      // destination that policy denies: answered with RST
	Limited     uint64 `json:"limited"`     // REQUEST beyond the limits of connections: answered with RST
	Unsolicited uint64 `json:"unsolicited"` // RESPONSE to a REQUEST that nobody made: answered with RST
	Overflow    uint64 `json:"overflow"`    // beyond what may wait for another guest: the connection was reset, or the REQUEST refused

	// To a context of this program, the host for one, which checks what it is sent:
	Credit     uint64 `json:"credit"`       // data beyond the credit: the connection was reset
	OutOfOrder uint64 `json:"out_of_order"` // not what the state of its connection allows: that was reset

	// Stray is packets of no connection. One may have been reset from the other end
	// just then, and an RST that answers such a packet is one itself; many are an attack.
	Stray uint64 `json:"stray"`

	// Of guests and attached processes:
	Malformed uint64 `json:"malformed"`  // no whole packet in what it sent
	BadChains uint64 `json:"bad_chains"` // buffers against the rules of the ring
	IdleKicks uint64 `json:"idle_kicks"` // doorbells for nothing; a few are usual
	Dropped   uint64 `json:"dropped"`    // for it: nobody waits to send it again, and there was no room

	// And their sessions that were ended:
	BadRings    uint64 `json:"bad_rings"`    // the ring made no sense
	Faults      uint64 `json:"faults"`       // it took its memory away
	Jams        uint64 `json:"jams"`         // it made its doorbell block
	BadMessages uint64 `json:"bad_messages"` // a message against the rules of vhost-user
}

type counters struct {
	forged, invalid, unreachable, denied, limited, unsolicited, overflow atomic.Uint64
	credit, outOfOrder, stray                                            atomic.Uint64
}

func (c *counters) read() Counters {
	return Counters{
		Forged:      c.forged.Load(),
		Invalid:     c.invalid.Load(),
		Unreachable: c.unreachable.Load(),
		Denied:      c.denied.Load(),
		Limited:     c.limited.Load(),
		Unsolicited: c.unsolicited.Load(),
		Overflow:    c.overflow.Load(),
		Credit:      c.credit.Load(),
		OutOfOrder:  c.outOfOrder.Load(),
		Stray:       c.stray.Load(),
	}
}

// breach counts what a stack of this program says of a context's packet.
func (sw *Switch) breach(from, to vsock.Addr, b stack.Breach) {
	p := (*sw.routes.Load())[from.CID]
	if p == nil {
		return
	}
	switch b {
	case stack.BreachFlow:
		p.late(&packet.Header{
			SrcCID: uint64(from.CID), SrcPort: from.Port, DstCID: uint64(to.CID), DstPort: to.Port,
		}, &p.counters.stray)
	case stack.BreachCredit:
		p.broke(&p.counters.credit)
	case stack.BreachOrder:
		p.broke(&p.counters.outOfOrder)
	}
}
