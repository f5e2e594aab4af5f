package driver

import (
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// Sizes of a driver's queues and buffers. A page of the memory file costs nothing
// until it is first written.
const (
	// queueSize is the number of descriptors of each queue, and of buffers of TX and RX.
	queueSize = 128

	// bufferSize is the size of a buffer. Each holds the largest packet: large packets are
	// fewer, and a datagram cannot be split.
	bufferSize = packet.MaxPayload + packet.HeaderSize
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
	rings  [numQueues]ring
	rx, tx uint64 // the first buffer of each
	size   uint64
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
	l.rx = next
	l.tx = pages(l.rx + queueSize*bufferRoom)
	l.size = pages(l.tx+queueSize*bufferRoom) - memoryBase
	return l
}

// rxBuffer and txBuffer are the addresses of buffers. None shares a cache line with another, and
// the payload begins with one, as most of what goes into it and comes out of it: bulk.Copy cannot
// do with every offset.
func (l *layout) rxBuffer(i int) uint64 { return buffer(l.rx, i) }

func (l *layout) txBuffer(i int) uint64 { return buffer(l.tx, i) }

func buffer(first uint64, i int) uint64 { return first + uint64(i)*bufferRoom + headerAt }

const (
	headerAt   = line - packet.HeaderSize // in a line
	bufferRoom = (headerAt + bufferSize + line - 1) / line * line

	line = 64 // bytes of cache, of most machines
)

func pages(n uint64) uint64 { return (n + 4095) &^ 4095 }
