package device

import (
	"time"

	"vsockets.dev/internal/spin"
)

// This file is how TX goes on after it had to stop: Out refused a packet, the guest
// rests, or there was no room for replies.

// txWaker takes up TX when Out, which refused a packet, has room for it.
type txWaker struct{ d *Device }

// Wake implements packet.Waker. It takes no more than a batch itself.
func (w txWaker) Wake() {
	w.d.tx.mu.Lock()
	w.d.heldBack = false
	w.d.tx.mu.Unlock()
	w.d.resumeSome()
}

// rest needs tx.mu. It has TX rest for so long.
func (d *Device) rest(pause time.Duration) {
	d.rested = true
	if d.restTimer == nil {
		d.restTimer = time.AfterFunc(pause, d.endRest)
		return
	}
	d.restTimer.Reset(pause)
}

func (d *Device) endRest() {
	d.tx.mu.Lock()
	d.rested = false
	d.tx.mu.Unlock()
	d.resumeLater()
}

// restTX says whether TX must rest for want of room for replies. Whoever makes
// room looks at resting after that, and here it is the other way round, so that
// one of the two sees what the other did.
func (d *Device) restTX() bool {
	if d.replies.Room() {
		return false
	}
	d.resting.Swap(true) // a barrier also for the race detector, golang/go#58020
	return !d.replies.Room()
}

// madeRoom takes up TX where it rests, now that there is room for replies. It
// needs no lock, and any may be held.
func (d *Device) madeRoom() {
	if d.resting.Load() && d.resting.Swap(false) {
		d.resumeLater()
	}
}

// txSource is TX as a spin.Source.
type txSource struct{ d *Device }

// Ready implements spin.Source.
func (s txSource) Ready() bool { return s.d.txReady() }

// TakeSome implements spin.Source.
func (s txSource) TakeSome() bool { return s.d.sendBatch() }

// Turns implements spin.Source.
func (s txSource) Turns() *spin.Turns { return &s.d.turns }

// resumeTX does what txLoop does at a kick. It is harmless at any time.
func (d *Device) resumeTX() { spin.All(txSource{d}) }

// resumeSome does some of it, and leaves the rest to a goroutine.
func (d *Device) resumeSome() { d.leftover.Some(txSource{d}) }

// resumeLater leaves it to that. It needs no lock, and any may be held.
func (d *Device) resumeLater() { d.leftover.Later(txSource{d}) }
