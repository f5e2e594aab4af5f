package device

// This file is the Device as a packet.Poller: what the guest sends.

// Hold implements packet.Poller.
func (d *Device) Hold() {
	d.tx.mu.Lock()
	d.pollers++
	d.tx.mu.Unlock()
}

// Poll implements packet.Poller.
func (d *Device) Poll() bool {
	if !d.tx.mu.TryLock() {
		return false // someone else is at it
	}
	defer d.tx.mu.Unlock()
	return d.sendLocked()
}

// Release implements packet.Poller.
func (d *Device) Release() {
	d.tx.mu.Lock()
	d.pollers--
	d.tx.mu.Unlock()
	d.resumeTX()
}
