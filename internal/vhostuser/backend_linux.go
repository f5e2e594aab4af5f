package vhostuser

import (
	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
)

// Backend is the device that a session drives. The session calls it from one
// goroutine, one call at a time. An error ends the session.
type Backend interface {
	// Features are the virtio feature bits that the device offers, of the ring
	// and of its type. FeatureProtocolFeatures is the session's own business.
	Features() uint64

	// SetFeatures tells which of them the driver took. No queue is started then.
	SetFeatures(acked uint64) error

	// NumQueues is how many queues the device has. A front-end need not start
	// them all.
	NumQueues() int

	// Config is the device's configuration space.
	Config() []byte

	// SetMemory replaces the guest's memory. When it returns, the device does
	// not touch the old one any more, which the session then unmaps. A queue
	// that is started goes on in the new one: its addresses, which stay, mean
	// new places. If it fails, the device still uses neither once its queues
	// are stopped.
	SetMemory(*guestmem.Memory) error

	// StartQueue tells that queue i is set up. It is disabled until EnableQueue.
	StartQueue(i int, q QueueConfig) error

	// EnableQueue lets a started queue work, or makes it rest: a disabled queue
	// is given nothing, and what comes from it has no effect.
	EnableQueue(i int, on bool) error

	// SetCall changes the Call of a started queue. When it returns, the device
	// does not use the old one any more. Front-ends do so whenever the guest
	// masks or unmasks the interrupt.
	SetCall(i int, call *eventfd.Bell) error

	// StopQueue ends the use of a started queue. When it returns, the device
	// touches neither its ring, nor the buffers in it, nor Kick and Call. base is the
	// index of the next available element, where a later start goes on.
	StopQueue(i int) (base uint16, err error)
}

// QueueConfig is all that a device needs to know of a queue. The session owns
// Kick and Call, and closes them when the device does not use them any more.
type QueueConfig struct {
	Size uint16 // descriptors; a power of two

	Desc, Avail, Used uint64 // user addresses of the front-end

	Base uint16 // index of the next available element

	Kick *eventfd.Event // the driver signals it
	Call *eventfd.Bell  // the device signals it; nil if the driver polls
}
