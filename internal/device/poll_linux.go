package device

import "vsockets.dev/internal/spin"

// This file is the Device as a spin.Ring: what the guest sends.

// Hold implements spin.Ring.
func (d *Device) Hold() {
	d.tx.mu.Lock()
	d.pollers++
	d.tx.mu.Unlock()
}

// Poll implements spin.Ring.
func (d *Device) Poll() bool {
	if !d.tx.mu.TryLock() {
		return false // someone else is at it
	}
	defer d.tx.mu.Unlock()
	return d.sendLocked()
}

// Release implements spin.Ring.
func (d *Device) Release() {
	d.tx.mu.Lock()
	d.pollers--
	d.tx.mu.Unlock()
	d.resumeSome()
}

// linger looks for more of it.
func (d *Device) linger() { spin.Linger(d) }

// Lease implements spin.Ring.
func (d *Device) Lease() *spin.Lease { return &d.lease }
