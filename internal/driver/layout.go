package driver

import (
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// Sizes of a driver's queues and buffers. A page of the memory file costs nothing
// until it is first written.
const (
	// queueSize is the number of descriptors of each queue, and of buffers.
	queueSize = 256

	// bufferSize is the size of a buffer, RX and TX. A packet whose payload is
	// larger takes several TX buffers, and a device splits it over RX buffers.
	bufferSize = 16<<10 + packet.HeaderSize

	// bufferStride keeps buffers apart by whole cache lines.
	bufferStride = (bufferSize + 63) &^ 63
)

// Queues, virtio 1.3 section 5.10.2.
const (
	rxQueue = iota
	txQueue
	eventQueue
	numQueues
)

// memoryBase is the address of the shared memory, guest and user alike: not 0, so
// that a zero address is never valid.
const memoryBase = 1 << 20

// layout says where everything is in the shared memory, as addresses.
type layout struct {
	rings   [numQueues]ring
	buffers [2]uint64 // of RX and TX
	size    uint64
}

type ring struct {
	desc, avail, used uint64
}

func newLayout() layout {
	var l layout
	next := uint64(memoryBase)
	for i := range l.rings {
		desc, avail, used, size := virtqueue.Layout(queueSize)
		l.rings[i] = ring{next + desc, next + avail, next + used}
		next = pages(next + size)
	}
	for i := range l.buffers {
		l.buffers[i] = next
		next = pages(next + queueSize*bufferStride)
	}
	l.size = next - memoryBase
	return l
}

// buffer is the address of a buffer of the RX or TX queue.
func (l *layout) buffer(queue, i int) uint64 {
	return l.buffers[queue] + uint64(i)*bufferStride
}

func pages(n uint64) uint64 { return (n + 4095) &^ 4095 }
