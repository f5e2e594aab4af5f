package driver

import (
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// Sizes of a driver's queues and buffers. A page of the memory file costs nothing
// until it is first written.
const (
	// queueSize is the number of descriptors of each queue, and of TX buffers.
	queueSize = 256

	// bufferSize is the size of a TX buffer. A packet whose payload is larger takes
	// several.
	bufferSize = 16<<10 + packet.HeaderSize

	// rxBuffers and rxBufferSize are the number and size of RX buffers. Each holds
	// the largest packet: a datagram, for one, cannot be split.
	rxBuffers    = 128
	rxBufferSize = packet.MaxPayload + packet.HeaderSize

	// warmTX and warmRX are how many buffers of a queue go round while the other side keeps
	// up, though there are more: with packets of 16 KiB, a quarter and half a megabyte, which
	// stay in the caches of both processors. RX takes more, since the device has none until a
	// batch of them is back.
	warmTX = 16
	warmRX = 32
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
	l.tx = pages(l.rxBuffer(rxBuffers))
	l.size = pages(l.txBuffer(queueSize)) - memoryBase
	return l
}

// rxBuffer and txBuffer are the addresses of buffers. None shares a cache line
// with another.
func (l *layout) rxBuffer(i int) uint64 { return l.rx + uint64(i)*lines(rxBufferSize) }

func (l *layout) txBuffer(i int) uint64 { return l.tx + uint64(i)*lines(bufferSize) }

func lines(n uint64) uint64 { return (n + 63) &^ 63 }

func pages(n uint64) uint64 { return (n + 4095) &^ 4095 }
