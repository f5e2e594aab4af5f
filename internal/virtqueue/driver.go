package virtqueue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"vsockets.dev/internal/guestmem"
)

// Driver is a driver's end of a queue. What it must remember it keeps in private
// memory, so a device that writes where it should not does not confuse it.
type Driver struct {
	ring

	free     uint16   // the first free descriptor
	numFree  int      // how many there are
	links    []uint16 // the descriptor after each, in its chain or in the free list
	chains   []chain  // by head
	added    uint16   // chains made available
	publish  uint16   // and shown to the device
	consumed uint16   // used entries taken
	silent   bool     // noEvents is set in the available ring
}

// chain is a chain that the device has.
type chain struct {
	descriptors int // 0: the device does not have it
	writable    uint32
}

// Buffer is a piece of shared memory, by its guest address.
type Buffer struct {
	Addr uint64
	Len  uint32
}

// NewDriver makes an empty queue in memory of its own.
func NewDriver(mem *guestmem.Memory, c Config) (*Driver, error) {
	r, err := newRing(mem, c)
	if err != nil {
		return nil, err
	}
	q := &Driver{
		ring: r, numFree: int(c.Size),
		links: make([]uint16, c.Size), chains: make([]chain, c.Size),
		added: c.Base, publish: c.Base, consumed: c.Base,
	}
	for i := range q.links {
		q.links[i] = uint16(i + 1)
	}
	q.availHead.Store(uint32(c.Base) << 16)
	q.usedHead.Store(uint32(c.Base) << 16)
	q.usedEvent.store(c.Base - 1) // no notification until EnableNotify
	return q, nil
}

// Free is the number of free descriptors. Each buffer of a chain takes one.
func (q *Driver) Free() int { return q.numFree }

// Add makes a chain of buffers: those the device reads, then those it writes.
// Publish shows it to the device. False: there are too few descriptors.
func (q *Driver) Add(readable, writable []Buffer) (head uint16, ok bool) {
	n := len(readable) + len(writable)
	if n == 0 || n > q.numFree {
		return 0, false
	}
	head = q.free
	i := head
	var total uint32
	for k := range n {
		var d descriptor
		if k < len(readable) {
			d = descriptor{addr: readable[k].Addr, len: readable[k].Len}
		} else {
			b := writable[k-len(readable)]
			d = descriptor{addr: b.Addr, len: b.Len, flags: flagWrite}
			total += b.Len
		}
		next := q.links[i]
		if k < n-1 {
			d.flags |= flagNext
			d.next = next
		}
		d.write(q.desc, int(i))
		i = next
	}
	q.free = i
	q.numFree -= n
	q.chains[head] = chain{descriptors: n, writable: total}
	binary.LittleEndian.PutUint16(q.avail[4+2*int(q.added&(q.size-1)):], head)
	q.added++
	return head, true
}

// Publish shows the device all that was added, and says whether it wants to be
// notified.
func (q *Driver) Publish() (kick bool) {
	old, now := q.publish, q.added
	if old == now {
		return false
	}
	q.publish = now
	q.storeHead()
	if q.eventIdx {
		return needEvent(q.availEvent.load(), now, old)
	}
	return q.usedHead.Load()&noEvents == 0
}

// storeHead is a full barrier, as Device's.
func (q *Driver) storeHead() { q.availHead.Store(head(q.publish, q.silent)) }

// Used takes the next chain that the device has returned, and tells how much it
// says it wrote, at most what it could: more is no error, since there are devices
// that count what they read as well (Linux's own, until 2021). Its descriptors are
// free again. An error means that the device broke the ring.
func (q *Driver) Used() (head uint16, written uint32, ok bool, err error) {
	idx := uint16(q.usedHead.Load() >> 16)
	n := idx - q.consumed
	if n == 0 {
		return 0, 0, false, nil
	}
	if n > q.size {
		return 0, 0, false, fmt.Errorf("virtqueue: used index jumps from %d to %d in a queue of %d", q.consumed, idx, q.size)
	}
	b := q.used[4+8*int(q.consumed&(q.size-1)):][:8]
	id := binary.LittleEndian.Uint32(b)
	written = binary.LittleEndian.Uint32(b[4:])
	if id >= uint32(q.size) || q.chains[id].descriptors == 0 {
		return 0, 0, false, errors.New("virtqueue: the device returned a chain that it does not have")
	}
	q.consumed++
	head = uint16(id)
	c := &q.chains[head]
	last := head
	for range c.descriptors - 1 {
		last = q.links[last]
	}
	q.links[last] = q.free
	q.free = head
	q.numFree += c.descriptors
	written = min(written, c.writable)
	*c = chain{}
	return head, written, true, nil
}

// HasUsed says whether the device has returned something.
func (q *Driver) HasUsed() bool { return uint16(q.usedHead.Load()>>16) != q.consumed }

// EnableNotify asks the device for a notification of what it returns next. It
// says whether something was returned in the meantime.
func (q *Driver) EnableNotify() (used bool) {
	if q.eventIdx {
		q.usedEvent.store(q.consumed)
	} else if q.silent {
		q.silent = false
		q.storeHead()
	}
	return q.HasUsed()
}

// DisableNotify asks for none. With EVENT_IDX the device notifies once per
// EnableNotify anyway.
func (q *Driver) DisableNotify() {
	if !q.eventIdx && !q.silent {
		q.silent = true
		q.storeHead()
	}
}
