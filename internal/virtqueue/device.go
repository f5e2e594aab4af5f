package virtqueue

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"

	"vsockets.dev/internal/guestmem"
)

// Device is a device's end of a queue.
type Device struct {
	ring
	mem    *guestmem.Memory
	config Config

	next      uint16 // the next available entry to take
	avail     uint16 // up to where entries are known to be available
	filled    uint16 // used entries filled
	published uint16 // and shown to the driver
	silent    bool   // noEvents is set in the used ring; never with EVENT_IDX

	bad atomic.Uint64
}

// MaxChainBytes is the most that the buffers of a chain add up to. The
// specification allows twice as much, and so little fits an int on any machine.
const MaxChainBytes = math.MaxInt32

// maxWaste bounds what one Pop reads of bad chains, in queues of descriptors. It
// runs in the goroutine of whoever sends to the guest, which a ring full of loops
// must not hold up; but one chain that loops must not hide the next, good one.
const maxWaste = 2

// Chain is a chain of descriptors that a driver made available. Its segments lie
// in the guest's memory; they are no more than the queue's size, and none is
// empty. Pop uses it again.
type Chain struct {
	Head               uint16
	Readable, Writable [][]byte
	ReadLen, WriteLen  int // bytes of each
	Descriptors        int // of the queue, that are the driver's again after Push
}

// NewDevice finds a queue in a guest's memory. It does not touch that memory.
func NewDevice(mem *guestmem.Memory, c Config) (*Device, error) {
	r, err := newRing(mem, c)
	if err != nil {
		return nil, err
	}
	return &Device{
		ring: r, mem: mem, config: c,
		next: c.Base, avail: c.Base, filled: c.Base, published: c.Base,
		// An earlier Device of the same ring may have left the flag set: taken for
		// set, the first EnableNotify clears it.
		silent: !c.EventIdx,
	}, nil
}

// Move goes on in another memory, in which the ring's addresses mean new places
// that hold the same. If it fails, nothing has changed. It touches neither.
func (q *Device) Move(mem *guestmem.Memory) error {
	r, err := newRing(mem, q.config)
	if err != nil {
		return err
	}
	q.ring, q.mem = r, mem
	return nil
}

// Base is the index of the next entry to take.
func (q *Device) Base() uint16 { return q.next }

// Size is how many descriptors the queue has.
func (q *Device) Size() int { return int(q.size) }

// BadChains counts chains that could not be used. Any goroutine may ask.
func (q *Device) BadChains() uint64 { return q.bad.Load() }

// HasAvail says whether there may be something to Pop.
func (q *Device) HasAvail() bool {
	return q.next != q.avail || uint16(q.availHead.Load()>>16) != q.next
}

// Pop takes the next chain: false if there is none. A chain that breaks the rules
// is counted and goes back to the driver unused, with the next Publish. An error
// means that the ring itself makes no sense, and the queue is of no more use.
//
// After bad chains of maxWaste queues of descriptors it gives up: false, though
// HasAvail still holds.
func (q *Device) Pop(c *Chain) (bool, error) {
	for wasted := 0; wasted < maxWaste*int(q.size); {
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
		n, ok := q.walk(c, head)
		if ok {
			return true, nil
		}
		wasted += n
		q.bad.Add(1)
		if head < q.size { // else there is no descriptor to give back
			q.Push(head, 0)
		}
	}
	return false, nil
}

// Unpop makes the chain available again that Pop took last. It must not have been
// pushed, nor any chain since.
func (q *Device) Unpop() { q.next-- }

// walk collects the segments of a chain, and tells how many descriptors it looked
// at, one at least: false if the chain breaks a rule of virtio 1.3 section 2.7.5.
// No chain is longer than the queue, so one that loops ends there.
func (q *Device) walk(c *Chain, head uint16) (n int, ok bool) {
	c.Head, c.Readable, c.Writable, c.ReadLen, c.WriteLen = head, c.Readable[:0], c.Writable[:0], 0, 0
	table, entries, i := q.desc, int(q.size), int(head)
	limit := int(q.size)
	nested, writing := false, false
	for n = 1; n <= limit; n++ {
		if i >= entries {
			return n, false
		}
		d := readDescriptor(table, i)
		if d.flags&flagIndirect != 0 {
			// May follow plain ones, section 2.7.5.3.2; its own write flag means nothing.
			if !q.config.Indirect || nested || d.flags&flagNext != 0 || d.len == 0 || d.len%descSize != 0 {
				return n, false
			}
			if table, ok = q.mem.Slice(d.addr, uint64(d.len)); !ok {
				return n, false
			}
			nested, entries, i = true, len(table)/descSize, 0
			c.Descriptors = n
			limit++ // the reference to the table is no buffer
			continue
		}
		if writing = writing || d.flags&flagWrite != 0; writing && d.flags&flagWrite == 0 {
			return n, false // readable after writable
		}
		if !c.add(q.mem, d) {
			return n, false
		}
		if d.flags&flagNext == 0 {
			if !nested {
				c.Descriptors = n
			}
			return n, true
		}
		i = int(d.next)
	}
	return limit, false
}

// add appends a descriptor's segment. An empty buffer is harmless, so it is left
// out rather than refused: nothing is accessed, and its address means nothing.
func (c *Chain) add(mem *guestmem.Memory, d descriptor) bool {
	if d.len == 0 {
		return true
	}
	if int64(d.len) > MaxChainBytes-int64(c.ReadLen)-int64(c.WriteLen) {
		return false
	}
	b, ok := mem.Slice(d.addr, uint64(d.len))
	if !ok {
		return false
	}
	if d.flags&flagWrite != 0 {
		c.Writable = append(c.Writable, b)
		c.WriteLen += len(b)
	} else {
		c.Readable = append(c.Readable, b)
		c.ReadLen += len(b)
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

// storeHead is a full barrier, as every store to a guestmem.Word.
func (q *Device) storeHead() { q.usedHead.Store(head(q.published, q.silent)) }

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
