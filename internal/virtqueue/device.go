package virtqueue

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"vsockets.dev/internal/guestmem"
)

// Device is a device's end of a queue.
type Device struct {
	ring
	mem      *guestmem.Memory
	indirect bool

	next      uint16 // the next available entry to take
	avail     uint16 // up to where entries are known to be available
	filled    uint16 // used entries filled
	published uint16 // and shown to the driver
	silent    bool   // noEvents is set in the used ring

	bad atomic.Uint64
}

// Chain is a chain of descriptors that a driver made available. Its segments lie
// in the guest's memory. Pop uses it again.
type Chain struct {
	Head               uint16
	Readable, Writable [][]byte
	ReadLen, WriteLen  int // bytes of each
}

// NewDevice finds a queue in a guest's memory.
func NewDevice(mem *guestmem.Memory, c Config) (*Device, error) {
	r, err := newRing(mem, c)
	if err != nil {
		return nil, err
	}
	q := &Device{ring: r, mem: mem, indirect: c.Indirect, next: c.Base, avail: c.Base, filled: c.Base, published: c.Base}
	return q, nil
}

// Base is the index of the next entry to take.
func (q *Device) Base() uint16 { return q.next }

// BadChains counts chains that could not be used. Any goroutine may ask.
func (q *Device) BadChains() uint64 { return q.bad.Load() }

// HasAvail says whether there may be something to Pop.
func (q *Device) HasAvail() bool {
	return q.next != q.avail || uint16(q.availHead.Load()>>16) != q.next
}

// Pop takes the next chain: false if there is none. A chain that breaks the rules
// is counted and goes back to the driver unused. An error means that the ring
// itself makes no sense, and the queue is of no more use.
func (q *Device) Pop(c *Chain) (bool, error) {
	for range q.size {
		if q.next == q.avail {
			idx := uint16(q.availHead.Load() >> 16)
			if n := idx - q.next; n > q.size {
				return false, fmt.Errorf("virtqueue: available index jumps from %d to %d in a queue of %d", q.next, idx, q.size)
			}
			if q.avail = idx; q.next == q.avail {
				return false, nil
			}
		}
		head := binary.LittleEndian.Uint16(q.ring.avail[4+2*int(q.next&(q.size-1)):])
		q.next++
		if q.walk(c, head) {
			return true, nil
		}
		q.bad.Add(1)
		if head < q.size {
			q.Push(head, 0)
		}
	}
	return false, nil
}

// walk collects the segments of a chain: false if it breaks a rule of virtio 1.3
// section 2.7.5. No chain is longer than the queue, so one that loops ends there.
func (q *Device) walk(c *Chain, head uint16) bool {
	*c = Chain{Head: head, Readable: c.Readable[:0], Writable: c.Writable[:0]}
	table, size, i := q.desc, int(q.size), int(head)
	nested := false
	for range q.size {
		if i >= size {
			return false
		}
		d := readDescriptor(table, i)
		if d.flags&flagIndirect != 0 {
			if !q.indirect || nested || d.flags&flagNext != 0 || d.len == 0 || d.len%descSize != 0 {
				return false
			}
			var ok bool
			if table, ok = q.mem.Slice(d.addr, uint64(d.len)); !ok {
				return false
			}
			nested, size, i = true, len(table)/descSize, 0
			continue
		}
		if !c.add(q.mem, d) {
			return false
		}
		if d.flags&flagNext == 0 {
			return true
		}
		i = int(d.next)
	}
	return false
}

// add appends a descriptor's segment. Readable ones come first. An empty one is
// no segment, but one of those that walk counts.
func (c *Chain) add(mem *guestmem.Memory, d descriptor) bool {
	b, ok := mem.Slice(d.addr, uint64(d.len))
	switch {
	case !ok:
		return false
	case d.flags&flagWrite != 0:
		c.WriteLen += len(b)
		if len(b) > 0 {
			c.Writable = append(c.Writable, b)
		}
	case c.WriteLen > 0:
		return false
	default:
		c.ReadLen += len(b)
		if len(b) > 0 {
			c.Readable = append(c.Readable, b)
		}
	}
	return true
}

// Push returns a chain with how much was written to it. Publish shows it.
func (q *Device) Push(head uint16, written uint32) {
	b := q.used[4+8*int(q.filled&(q.size-1)):][:8]
	binary.LittleEndian.PutUint32(b, uint32(head))
	binary.LittleEndian.PutUint32(b[4:], written)
	q.filled++
}

// Publish shows the driver all that was pushed, and says whether it wants to be
// notified. The store of the index is a full barrier before the driver's wish is
// read, virtio 1.3 section 2.7.8.
func (q *Device) Publish() (signal bool) {
	old, now := q.published, q.filled
	if old == now {
		return false
	}
	q.published = now
	q.storeHead()
	if q.eventIdx {
		return needEvent(q.usedEvent.load(), now, old)
	}
	return q.availHead.Load()&noEvents == 0
}

func (q *Device) storeHead() {
	v := uint32(q.published) << 16
	if q.silent {
		v |= noEvents
	}
	q.usedHead.Store(v)
}

// EnableNotify asks the driver for a notification of what comes next. It says
// whether something came in the meantime, for which there may be none.
func (q *Device) EnableNotify() (avail bool) {
	if q.eventIdx {
		q.availEvent.store(q.next)
	} else if q.silent {
		q.silent = false
		q.storeHead()
	}
	return uint16(q.availHead.Load()>>16) != q.next
}

// DisableNotify asks for none. With EVENT_IDX the driver notifies once per
// EnableNotify anyway.
func (q *Device) DisableNotify() {
	if !q.eventIdx && !q.silent {
		q.silent = true
		q.storeHead()
	}
}
