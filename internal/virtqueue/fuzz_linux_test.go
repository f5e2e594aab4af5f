package virtqueue

import (
	"bytes"
	"encoding/binary"
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
	seed := func(flags byte, heads []uint16, ds ...descriptor) {
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
		f.Add(bytes.Join([][]byte{b, b[2:]}, nil))
	}
	seed(2, []uint16{0}, row(4)...)
	seed(2, []uint16{0, 3}, descriptor{addr: dataAddr, len: 44, flags: flagNext, next: 1}, descriptor{addr: dataAddr, len: 8, flags: flagWrite})
	seed(2|16, []uint16{0}, descriptor{addr: memBase, len: 4 * descSize, flags: flagIndirect}) // a table that is the queue's own
	seed(1|8, []uint16{0, 1}, descriptor{addr: dataAddr, len: 8, flags: flagNext})
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
