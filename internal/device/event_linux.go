package device

import (
	"encoding/binary"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
)

// transportReset is the one event that there is: the guest's connections are over,
// and its CID may be another, virtio 1.3 section 5.10.6.7.
const transportReset = 0

// eventSize is the length of an event in bytes: its id.
const eventSize = 4

// ChangeCID gives the guest another CID, and says whether the guest will know: its
// driver reads the CID when it starts, and when it is told of a transport reset.
// That takes the event queue, which some front-ends keep for themselves.
func (d *Device) ChangeCID(cid uint32) (told bool) {
	d.cid.Store(cid)
	q := &d.events
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running() {
		return false
	}
	d.resetDue = true
	d.putEvent()
	return true
}

// HasEvents says whether the guest can be told of events.
func (d *Device) HasEvents() bool {
	d.events.mu.Lock()
	defer d.events.mu.Unlock()
	return d.events.running()
}

// stopEvents stops the event queue. A guest that starts it again has read its CID anew.
func (d *Device) stopEvents() (base uint16) {
	base = d.events.stop()
	d.events.mu.Lock()
	d.resetDue = false
	d.events.mu.Unlock()
	return base
}

// eventLoop sends the event that is due when the guest gives a buffer for it.
func (d *Device) eventLoop(kick *eventfd.Event) {
	kick.Serve(d.eventReady, d.sendEvent)
}

func (d *Device) eventReady() (ready bool) {
	q := &d.events
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running() || !d.resetDue {
		return false
	}
	var err error
	defer func() { d.check(q, err) }()
	defer q.mem.Catch(guestmem.Arm(), &err)
	return q.ring.HasAvail() || q.ring.EnableNotify()
}

func (d *Device) sendEvent() {
	d.events.mu.Lock()
	defer d.events.mu.Unlock()
	if d.events.running() && d.resetDue {
		d.putEvent()
	}
}

// putEvent needs events.mu, and a queue that runs. Without a buffer the event stays due.
func (d *Device) putEvent() {
	q := &d.events
	var err error
	defer func() { d.check(q, err) }()
	defer q.mem.Catch(guestmem.Arm(), &err)
	err = d.tryEvent()
	if q.ring.Publish() {
		d.signal(q)
	}
}

// eventTries bounds the search for a buffer that an event fits in.
const eventTries = 16

// tryEvent needs events.mu.
func (d *Device) tryEvent() error {
	q := &d.events
	for range eventTries {
		ok, err := q.ring.Pop(&q.chain)
		if err != nil {
			return err
		}
		if !ok {
			if q.ring.EnableNotify() {
				continue
			}
			return nil
		}
		n := min(q.chain.WriteLen, eventSize)
		to := cursorAt(q.chain.Writable)
		to.write(binary.LittleEndian.AppendUint32(nil, transportReset))
		q.ring.Push(q.chain.Head, uint32(n))
		if n == eventSize {
			d.resetDue = false
			return nil
		}
	}
	return errNoBuffers
}
