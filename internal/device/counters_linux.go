package device

import (
	"errors"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
)

// Counters count what a guest did wrong, and what it had to do without.
type Counters struct {
	BadPackets uint64 // chains in which there was no whole packet
	BadChains  uint64 // chains that break a rule of the ring
	IdleKicks  uint64 // kicks for which there was nothing to do
	Dropped    uint64 // packets for it that nobody waits to send again, and there was no room

	// Sessions that were ended.
	BadRings uint64 // an index jumped, or there was no end of unusable buffers
	Faults   uint64 // memory was taken away
	Jams     uint64 // a doorbell was made to block
}

// Why the device ends a session.
const (
	endRing = iota
	endFault
	endJam
	endCauses
)

func causeOf(err error) int {
	switch {
	case errors.Is(err, guestmem.ErrFault):
		return endFault
	case errors.Is(err, eventfd.ErrJammed):
		return endJam
	}
	return endRing
}

// Counters counts over all sessions.
func (d *Device) Counters() Counters {
	c := Counters{
		BadPackets: d.badPackets.Load(),
		Dropped:    d.dropped.Load(),
		BadRings:   d.ends[endRing].Load(),
		Faults:     d.ends[endFault].Load(),
		Jams:       d.ends[endJam].Load(),
	}
	for _, q := range []*queue{&d.rx, &d.tx, &d.events} {
		chains, kicks := q.counts()
		c.BadChains += chains
		c.IdleKicks += kicks
	}
	return c
}
