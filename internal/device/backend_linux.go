package device

import (
	"encoding/binary"
	"fmt"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/vhostuser"
)

// This file is the device as its vhost-user session sees it.

// Features are the virtio features that the device offers.
func (d *Device) Features() uint64 { return features }

// SetFeatures is what the driver took of them.
func (d *Device) SetFeatures(acked uint64) error {
	if extra := acked &^ features; extra != 0 {
		return fmt.Errorf("device: features %#x were not offered", extra)
	}
	d.features.Store(acked)
	return nil
}

// NumQueues is the number of virtqueues.
func (d *Device) NumQueues() int { return numQueues }

// Config is the device's configuration space: guest_cid, virtio 1.3 section 5.10.4.
func (d *Device) Config() []byte {
	return binary.LittleEndian.AppendUint64(nil, uint64(d.cid.Load()))
}

// SetMemory replaces the guest's memory. Queues that run go on where they are.
func (d *Device) SetMemory(mem *guestmem.Memory) error {
	d.mem = mem
	for _, q := range []*queue{&d.rx, &d.tx, &d.events} {
		if err := q.move(mem); err != nil {
			return fmt.Errorf("device: queue after the change of memory: %w", err)
		}
	}
	return nil
}

// StartQueue sets a queue to work, once it is enabled.
func (d *Device) StartQueue(i int, c vhostuser.QueueConfig) error {
	var err error
	switch i {
	case rxQueue:
		err = d.rx.start(d.mem, c, d.features.Load(), d.rxLoop)
	case txQueue:
		err = d.tx.start(d.mem, c, d.features.Load(), d.txLoop)
	case eventQueue:
		err = d.events.start(d.mem, c, d.features.Load(), d.eventLoop)
	}
	if err != nil {
		return fmt.Errorf("device: queue %d: %w", i, err)
	}
	return nil
}

// EnableQueue lets a queue work, or rest. A guest may have filled the TX ring
// before, so that is looked at now; for the RX ring nobody waits yet.
func (d *Device) EnableQueue(i int, on bool) error {
	switch i {
	case rxQueue:
		d.rx.enable(on)
	case txQueue:
		if d.tx.enable(on); on {
			d.resumeLater()
		}
	case eventQueue:
		d.events.enable(on)
	}
	if !on && i != eventQueue {
		d.leave()
	}
	return nil
}

// SetCall changes the doorbell that a queue rings. A signal that waits goes to the new
// one.
func (d *Device) SetCall(i int, call *eventfd.Bell) error {
	for n, q := range map[int]*queue{rxQueue: &d.rx, txQueue: &d.tx, eventQueue: &d.events} {
		if n == i {
			q.mu.Lock()
			q.call = call
			q.mu.Unlock()
		}
	}
	if i == txQueue {
		d.settle()
	}
	return nil
}

// StopQueue ends the work of a queue.
func (d *Device) StopQueue(i int) (base uint16, err error) {
	switch i {
	case rxQueue:
		base = d.rx.stop()
	case txQueue:
		d.tx.enable(false)
		d.settle()
		base = d.tx.stop()
	case eventQueue:
		return d.stopEvents(), nil
	}
	d.leave()
	return base, nil
}

// leave ends the connections of a guest that has stopped one of its queues.
func (d *Device) leave() {
	d.forget()
	d.down()
}
