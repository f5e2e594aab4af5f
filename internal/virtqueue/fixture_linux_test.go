package virtqueue

import (
	"encoding/binary"
	"testing"

	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	memBase = 1 << 20 // so that address 0 is not valid
	memSize = 1 << 20
	memEnd  = memBase + memSize

	// dataAddr is behind the largest queue.
	dataAddr = memBase + 64<<10
)

// bed is memory with room for one queue.
type bed struct {
	mem    *guestmem.Memory
	config Config
}

func newBed(tb testing.TB, c Config) *bed {
	tb.Helper()
	mem, f, err := guestmem.Alloc(memBase, memSize)
	if err != nil {
		tb.Fatal(err)
	}
	_ = f.Close()
	tb.Cleanup(func() { _ = mem.Unmap() })
	desc, avail, used, total := Layout(c.Size)
	if memBase+total > dataAddr {
		tb.Fatalf("a queue of %d takes %d bytes", c.Size, total)
	}
	c.Desc, c.Avail, c.Used = memBase+desc, memBase+avail, memBase+used
	return &bed{mem: mem, config: c}
}

func (b *bed) device(tb testing.TB) *Device {
	tb.Helper()
	q, err := NewDevice(b.mem, b.config)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func (b *bed) driver(tb testing.TB) *Driver {
	tb.Helper()
	q, err := NewDriver(b.mem, b.config)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func (b *bed) bytes(tb testing.TB, addr, n uint64) []byte {
	tb.Helper()
	s, ok := b.mem.Slice(addr, n)
	if !ok {
		tb.Fatalf("no %d bytes at %#x", n, addr)
	}
	return s
}

// peer is the other end of a queue that keeps to no rules: it writes what it is told.
type peer struct {
	ring
	availIdx, usedIdx uint16
}

func (b *bed) peer(tb testing.TB) *peer {
	tb.Helper()
	r, err := newRing(b.mem, b.config)
	if err != nil {
		tb.Fatal(err)
	}
	p := &peer{ring: r, availIdx: b.config.Base, usedIdx: b.config.Base}
	p.availHead.Store(uint32(p.availIdx) << 16)
	p.usedHead.Store(uint32(p.usedIdx) << 16)
	return p
}

// offer makes chains available.
func (p *peer) offer(heads ...uint16) {
	for _, h := range heads {
		binary.LittleEndian.PutUint16(p.avail[4+2*int(p.availIdx&(p.size-1)):], h)
		p.availIdx++
	}
	p.availHead.Store(p.availHead.Load()&0xffff | uint32(p.availIdx)<<16)
}

// giveBack makes a used element visible.
func (p *peer) giveBack(id, written uint32) {
	b := p.used[4+8*int(p.usedIdx&(p.size-1)):]
	binary.LittleEndian.PutUint32(b, id)
	binary.LittleEndian.PutUint32(b[4:], written)
	p.usedIdx++
	p.usedHead.Store(p.usedHead.Load()&0xffff | uint32(p.usedIdx)<<16)
}

// element is a used element.
type element struct{ ID, Written uint32 }

// usedSince gives the elements that became visible since index from.
func (p *peer) usedSince(from uint16) (es []element) {
	for i := from; i != uint16(p.usedHead.Load()>>16); i++ {
		b := p.used[4+8*int(i&(p.size-1)):]
		es = append(es, element{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])})
	}
	return es
}

// table writes descriptors at an address, as an indirect table.
func (b *bed) table(tb testing.TB, addr uint64, ds ...descriptor) {
	tb.Helper()
	t := b.bytes(tb, addr, uint64(len(ds)*descSize))
	for i, d := range ds {
		d.write(t, i)
	}
}

// row gives n descriptors of 8 bytes each that are linked one to the next, from
// number 0 of their table on.
func row(n int) []descriptor {
	ds := make([]descriptor, n)
	for i := range ds {
		ds[i] = descriptor{addr: dataAddr + uint64(8*i), len: 8, flags: flagNext, next: uint16(i + 1)}
	}
	ds[n-1].flags = 0
	return ds
}
