package vswitch

import "sync/atomic"

// Counters count the packets of a context that the switch did not pass on.
type Counters struct {
	Forged      uint64 `json:"forged"`      // source CID not the context's own: dropped
	Unreachable uint64 `json:"unreachable"` // no such destination CID: answered with RST
	Denied      uint64 `json:"denied"`      // destination that policy denies: answered with RST
	Limited     uint64 `json:"limited"`     // REQUEST beyond the limits of connections: answered with RST
	Unsolicited uint64 `json:"unsolicited"` // RESPONSE to a REQUEST that nobody made: answered with RST
	Overflow    uint64 `json:"overflow"`    // beyond what may wait for another guest: the connection was reset
	Malformed   uint64 `json:"malformed"`   // of a guest: no whole packet in what it sent
	Dropped     uint64 `json:"dropped"`     // for a guest: nobody waits to send it again, and there was no room
}

type counters struct {
	forged, unreachable, denied, limited, unsolicited, overflow atomic.Uint64
}

func (c *counters) read() Counters {
	return Counters{
		Forged:      c.forged.Load(),
		Unreachable: c.unreachable.Load(),
		Denied:      c.denied.Load(),
		Limited:     c.limited.Load(),
		Unsolicited: c.unsolicited.Load(),
		Overflow:    c.overflow.Load(),
	}
}
