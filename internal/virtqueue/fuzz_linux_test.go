package virtqueue

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// fuzzArea is the memory that a fuzz target's bytes are laid over: the ring, and
// what is behind it.
const fuzzArea = 4096

// fuzzConfig makes a configuration of two bytes.
func fuzzConfig(b []byte) Config {
	return Config{
		Size:     1 << (b[0] & 7),
		EventIdx: b[0]&8 != 0,
		Indirect: b[0]&16 != 0,
		Base:     uint16(int8(b[1])),
	}
}

// FuzzDeviceChain has the driver's bytes as the whole of a queue: half of them
// before the first Pop, half over them after it.
func FuzzDeviceChain(f *testing.F) {
	seed := func(flags byte, heads []uint16, ds ...descriptor) []byte {
		size := 1 << (flags & 7)
		desc, avail, _, _ := Layout(uint16(size))
		b := make([]byte, 2+avail+4+2*uint64(size))
		b[0] = flags
		for i, d := range ds {
			d.write(b[2+desc:], i)
		}
		ring := b[2+avail:]
		binary.LittleEndian.PutUint16(ring[2:], uint16(len(heads)))
		for i, h := range heads {
			binary.LittleEndian.PutUint16(ring[4+2*i:], h)
		}
		return b
	}
	add := func(b []byte) { f.Add(bytes.Join([][]byte{b, b[2:]}, nil)) }
	const (
		indirect, eventIdx = 16, 8 // of a configuration's flags
		tableAt            = memBase + 1024
	)
	table := func(n int) descriptor {
		return descriptor{addr: tableAt, len: uint32(n * descSize), flags: flagIndirect}
	}
	// inTable is a seed with an indirect table behind the queue.
	inTable := func(heads []uint16, ds []descriptor, in ...descriptor) {
		b := seed(3|indirect, heads, ds...)
		b = append(b, make([]byte, 2+tableAt-memBase+len(in)*descSize-len(b))...)
		for i, d := range in {
			d.write(b[2+tableAt-memBase:], i)
		}
		add(b)
	}
	first := []uint16{0}
	readable := descriptor{addr: dataAddr, len: 8}
	writable := descriptor{addr: dataAddr, len: 8, flags: flagWrite}
	linked := func(d descriptor, next uint16) descriptor {
		d.flags, d.next = d.flags|flagNext, next
		return d
	}
	with := func(addr uint64, n uint32) descriptor { return descriptor{addr: addr, len: n} }

	add(seed(2, first, row(4)...))
	add(seed(2, []uint16{0, 3}, linked(with(dataAddr, 44), 1), writable))
	add(seed(1|eventIdx, []uint16{0, 1}, linked(readable, 0)))
	for _, chain := range [][]descriptor{
		{linked(readable, 0)}, // loops
		{linked(readable, 1), linked(readable, 0)},
		{linked(readable, 1), linked(writable, 2), linked(writable, 1)},
		{linked(readable, 4)},                      // out of the table
		{linked(readable, math.MaxUint16)},         //
		{with(dataAddr, 0)},                        // of no length
		{linked(with(0, 0), 1), with(dataAddr, 0)}, //
		{with(dataAddr, math.MaxUint32)},           // huge
		{linked(with(memBase, memSize), 1), linked(with(memBase, memSize), 2), with(memBase, memSize)},
		{with(memEnd-1, 2)}, // out of the region
		{with(memEnd, 1)},
		{with(memBase-1, 2)},
		{with(math.MaxUint64, 2)},
		{linked(with(dataAddr, 100), 1), with(dataAddr+50, 100)}, // one over the other
		{linked(writable, 1), readable},                          // write-only where read-only is due
		{linked(writable, 1), linked(readable, 2), writable},
		{{addr: memBase, len: 64, flags: flagWrite}}, // the queue itself
	} {
		add(seed(2, first, chain...))
		inTable(first, []descriptor{table(len(chain))}, chain...)
	}
	add(seed(2|indirect, first, descriptor{addr: memBase, len: 4 * descSize, flags: flagIndirect})) // a table that is the queue's own
	inTable(first, []descriptor{table(2)}, table(2), readable)                                      // a table in a table
	inTable(first, []descriptor{linked(table(1), 1), readable}, readable)                           // and one that goes on
	inTable(first, []descriptor{linked(readable, 1), table(1)}, writable)
	inTable(first, []descriptor{{addr: tableAt, len: descSize - 1, flags: flagIndirect}}, readable)
	inTable(first, []descriptor{{addr: tableAt, flags: flagIndirect}}, readable)
	inTable(first, []descriptor{{addr: memEnd - 8, len: descSize, flags: flagIndirect}})
	add(seed(2, []uint16{4, math.MaxUint16, 0}, readable)) // heads that are none
	jump := seed(2, first, readable)
	_, avail, _, _ := Layout(4)
	binary.LittleEndian.PutUint16(jump[2+avail+2:], 9) // an index that jumps
	add(jump)
	f.Add([]byte{7, 0xff})
	f.Add([]byte{})

	b := newBed(f, Config{Size: MaxSize})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		bed := newFuzzBed(t, b, fuzzConfig(data))
		area := bed.bytes(t, memBase, fuzzArea)
		clear(area)
		data = data[2:]
		half := len(data) / 2
		copy(area, data[:half])

		q := bed.device(t)
		var c Chain
		for i := range 2 * int(bed.config.Size) {
			ok, err := q.Pop(&c)
			if err != nil {
				break
			}
			if ok {
				checkChain(t, &c, int(bed.config.Size))
				for _, s := range c.Writable { // may be the queue itself
					s[0], s[len(s)-1] = s[len(s)-1], s[0]
				}
				q.Push(c.Head, uint32(c.WriteLen))
			}
			q.Publish()
			q.EnableNotify()
			q.DisableNotify()
			if i == 0 {
				copy(area, data[half:])
			}
		}
	})
}

// FuzzDriverUsed has the device's bytes as the used ring, and all else that it can
// write to.
func FuzzDriverUsed(f *testing.F) {
	f.Add([]byte{2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{2, 0xfe, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{3 | 8, 0, 4, 0, 2, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0})

	b := newBed(f, Config{Size: MaxSize})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		bed := newFuzzBed(t, b, fuzzConfig(data))
		area := bed.bytes(t, memBase, fuzzArea)
		clear(area)
		q := bed.driver(t)
		size := int(bed.config.Size)
		used := area[bed.config.Used-memBase:]

		has := map[uint16]uint32{} // the chains that the device has: what it may write
		for data = data[2:]; ; {
			for q.Free() > 0 {
				n := min(q.Free(), 1+len(has)%3)
				head, ok := q.Add(nil, make([]Buffer, n))
				if !ok {
					t.Fatalf("%d of %d free, and no room for %d", q.Free(), size, n)
				}
				if _, twice := has[head]; twice || int(head) >= size {
					t.Fatalf("chain %d is given out twice, or is none", head)
				}
				has[head] = 0
			}
			q.Publish()
			q.EnableNotify()
			if len(data) == 0 {
				return
			}
			clear(area[:descSize*size]) // none of the driver's business any more
			n := copy(used[2:], data[:min(len(data), 10)])
			data = data[n:]
			for range size + 1 {
				head, written, ok, err := q.Used()
				if err != nil {
					return
				}
				if !ok {
					break
				}
				if most, out := has[head]; !out || written > most {
					t.Fatalf("chain %d with %d bytes; it was out: %v, with %d", head, written, out, most)
				}
				delete(has, head)
			}
			if q.Free() > size {
				t.Fatalf("%d of %d free", q.Free(), size)
			}
		}
	})
}

// newFuzzBed is a bed in the memory of another.
func newFuzzBed(t *testing.T, in *bed, c Config) *bed {
	t.Helper()
	desc, avail, used, total := Layout(c.Size)
	if total > fuzzArea {
		t.Fatalf("a queue of %d takes %d bytes", c.Size, total)
	}
	c.Desc, c.Avail, c.Used = memBase+desc, memBase+avail, memBase+used
	return &bed{mem: in.mem, config: c}
}
