// Package virtqueue is the split virtqueue, both its ends: [Device] takes buffers
// that a driver made available and returns them used, [Driver] does the opposite.
// Source: virtio 1.3, section 2.7.
//
// The other end shares the memory, and may change all of it at any time. Each
// value in it is read once, checked, and used from private memory. Indices are
// exchanged atomically; a ring's flags and idx share an aligned 32-bit word of
// which one side only is the writer.
//
// Neither end is safe for concurrent use: its owner locks.
package virtqueue

import (
	"encoding/binary"
	"fmt"

	"vsockets.dev/internal/guestmem"
)

// MaxSize is the largest queue. The specification allows 32768; drivers of vsock
// use 128 or 256.
const MaxSize = 1024

// Flags of a descriptor, virtio 1.3 section 2.7.5.
const (
	flagNext     = 1
	flagWrite    = 2
	flagIndirect = 4

	descSize = 16
)

// noEvents in the flags of either ring asks the other side for no notifications,
// virtio 1.3 sections 2.7.6 and 2.7.8.
const noEvents = 1

// Config says where a queue is and how it is used.
type Config struct {
	Size              uint16 // descriptors: a power of two
	Desc, Avail, Used uint64 // user addresses
	EventIdx          bool   // VIRTIO_F_EVENT_IDX is negotiated
	Indirect          bool   // VIRTIO_F_INDIRECT_DESC is negotiated
	Base              uint16 // the index where both rings go on
}

// Layout gives offsets for a queue in fresh memory, and how much it takes. The
// three parts do not share a cache line.
func Layout(size uint16) (desc, avail, used, total uint64) {
	line := func(n uint64) uint64 { return (n + 63) &^ 63 }
	n := uint64(size)
	avail = line(descSize * n)
	used = line(avail + 8 + 2*n)
	return 0, avail, used, line(used + 8 + 8*n)
}

// ring is what both ends know of the shared memory.
type ring struct {
	size              uint16 // a power of two
	desc, avail, used []byte

	availHead, usedHead   *guestmem.Word // flags | idx<<16
	usedEvent, availEvent event          // at the ends of avail and used
	eventIdx              bool
}

// head gives the flags and idx of a ring as one word.
func head(idx uint16, silent bool) uint32 {
	v := uint32(idx) << 16
	if silent {
		v |= noEvents
	}
	return v
}

func newRing(mem *guestmem.Memory, c Config) (r ring, err error) {
	if c.Size == 0 || c.Size > MaxSize || c.Size&(c.Size-1) != 0 {
		return r, fmt.Errorf("virtqueue: size %d is not a power of two up to %d", c.Size, MaxSize)
	}
	n := uint64(c.Size)
	r = ring{size: c.Size, eventIdx: c.EventIdx}
	// The rings end with a 16-bit event field, of which the aligned word is taken.
	for _, part := range []struct {
		name        string
		addr, align uint64
		size        uint64
		b           *[]byte
	}{
		{"descriptor table", c.Desc, 16, descSize * n, &r.desc},
		// The specification asks for 2 here. With 4, idx and flags are one word, and
		// every driver known gives more.
		{"available ring", c.Avail, 4, (4 + 2*n + 2 + 3) &^ 3, &r.avail},
		{"used ring", c.Used, 4, 4 + 8*n + 4, &r.used},
	} {
		b, ok := mem.UserSlice(part.addr, part.size)
		if !ok {
			return r, fmt.Errorf("virtqueue: %s of %d bytes at %#x lies outside of the guest's memory", part.name, part.size, part.addr)
		}
		if part.addr%part.align != 0 {
			return r, fmt.Errorf("virtqueue: %s at %#x is not aligned to the %d bytes needed here", part.name, part.addr, part.align)
		}
		*part.b = b
	}
	var ok [4]bool
	r.availHead, ok[0] = guestmem.WordAt(r.avail, 0)
	r.usedHead, ok[1] = guestmem.WordAt(r.used, 0)
	r.usedEvent, ok[2] = newEvent(r.avail, 4+2*int(n))
	r.availEvent, ok[3] = newEvent(r.used, 4+8*int(n))
	if ok != [4]bool{true, true, true, true} {
		return r, fmt.Errorf("virtqueue: rings at %#x and %#x are not aligned to 4 in memory", c.Avail, c.Used)
	}
	return r, nil
}

// event is the 16-bit used_event or avail_event, as part of an aligned word.
type event struct {
	word  *guestmem.Word
	shift uint
}

func newEvent(b []byte, off int) (event, bool) {
	w, ok := guestmem.WordAt(b, off&^3)
	return event{w, uint(off&2) * 8}, ok
}

func (e event) load() uint16 { return uint16(e.word.Load() >> e.shift) }

// storeTries bounds a store. The other half of the word belongs to nobody, so a
// store fails only if the other side writes where it has no business; then it
// misses a notification.
const storeTries = 8

// store has the effect of a full barrier.
func (e event) store(v uint16) {
	for range storeTries {
		old := e.word.Load()
		if e.word.CompareAndSwap(old, old&^(0xffff<<e.shift)|uint32(v)<<e.shift) {
			return
		}
	}
}

// needEvent says whether going from old to now passes the index that the other
// side waits for, virtio 1.3 section 2.7.7.2.
func needEvent(event, now, old uint16) bool { return now-event-1 < now-old }

// descriptor is a copy of one entry of a descriptor table.
type descriptor struct {
	addr        uint64
	len         uint32
	flags, next uint16
}

func readDescriptor(table []byte, i int) descriptor {
	b := table[i*descSize:][:descSize]
	return descriptor{
		addr:  binary.LittleEndian.Uint64(b),
		len:   binary.LittleEndian.Uint32(b[8:]),
		flags: binary.LittleEndian.Uint16(b[12:]),
		next:  binary.LittleEndian.Uint16(b[14:]),
	}
}

func (d descriptor) write(table []byte, i int) {
	b := table[i*descSize:][:descSize]
	binary.LittleEndian.PutUint64(b, d.addr)
	binary.LittleEndian.PutUint32(b[8:], d.len)
	binary.LittleEndian.PutUint16(b[12:], d.flags)
	binary.LittleEndian.PutUint16(b[14:], d.next)
}
