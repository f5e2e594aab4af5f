package device

import "time"

// A guest wants to hear of each buffer of TX that it gets back, so as to free it, and
// being interrupted for it costs more than sending a packet does. So it is signalled when
// half of the queue has come back, before it could want for room; or when nothing more is
// taken from it; or else after moderation. Network cards do the same by that name. Virtio 1.3
// section 2.7.7.2 says which buffers a signal is due for, and not how soon.

// moderation is how long a signal for a guest's used TX buffers waits for more of them.
const moderation = time.Millisecond

// moderated is a signal that waits. It is under tx.mu.
type moderated struct {
	owed     bool // the guest asked for a signal
	returned int  // descriptors since the last one
	timed    bool // timer runs
	timer    *time.Timer
}

// returnTX needs tx.mu. It sees to the signal for buffers that were returned, for which
// the guest asked or not.
func (d *Device) returnTX(asked bool) {
	m := &d.moderated
	switch m.owed = m.owed || asked; {
	case !m.owed:
	case d.heldBack || 2*m.returned >= d.tx.ring.Size():
		d.settleLocked()
	case m.timed:
	case m.timer == nil:
		m.timed, m.timer = true, time.AfterFunc(moderation, d.settleLate)
	default:
		m.timed = true
		m.timer.Reset(moderation)
	}
}

// settle gives the guest a signal that waits.
func (d *Device) settle() {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	if d.moderated.owed {
		d.settleLocked()
	}
}

func (d *Device) settleLocked() {
	if d.tx.call == nil {
		return // a front-end that changes the doorbell may take the old one away first
	}
	d.moderated.owed, d.moderated.returned = false, 0
	d.signal(&d.tx)
}

func (d *Device) settleLate() {
	d.tx.mu.Lock()
	d.moderated.timed = false
	d.tx.mu.Unlock()
	d.settle()
}
