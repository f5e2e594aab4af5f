package driver

import "vsockets.dev/internal/spin"

// This file is the Driver as a spin.Ring.

// Hold implements spin.Ring.
func (d *Driver) Hold() {
	r := &d.rx
	r.mu.Lock()
	r.pollers++
	r.mu.Unlock()
}

// Poll implements spin.Ring.
func (d *Driver) Poll() bool {
	r := &d.rx
	if !r.mu.TryLock() {
		return false // someone else is at it
	}
	defer r.mu.Unlock()
	return r.takeLocked()
}

// Release implements spin.Ring.
func (d *Driver) Release() {
	r := &d.rx
	r.mu.Lock()
	r.pollers--
	r.mu.Unlock()
	r.left.Some(rxSource{r})
}

// Lease implements spin.Ring.
func (d *Driver) Lease() *spin.Lease { return &d.lease }
