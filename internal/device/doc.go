// Package device is a virtio-vsock device: it moves packets between a guest's
// virtqueues and a packet.Sink.
//
// What the guest sends goes from its TX ring to the Sink with the payload where
// it lies, in the guest's memory. What the guest is sent goes straight into its
// RX ring, in the goroutine of the sender; a sender that finds no room waits for
// the guest and not in a queue. Source: virtio 1.3, section 5.10.
package device
