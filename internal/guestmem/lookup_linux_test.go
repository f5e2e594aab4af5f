package guestmem

import (
	"encoding/binary"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// twoRegions are as QEMU's: with a hole between them, and user addresses in
// another order than guest addresses.
var twoRegions = []Region{
	{GuestAddr: 0, Size: 0xa000, UserAddr: 0x7f0000100000},
	{GuestAddr: 0xc000, Size: 0x4000, UserAddr: 0x7f0000000000, MmapOffset: 0xc000},
}

func TestSlice(t *testing.T) {
	fd := memfd(t, 0x10000)
	m := mustMap(t, twoRegions, []int{fd, fd})
	for name, c := range map[string]struct {
		addr, n uint64
		ok      bool
	}{
		"first byte":               {0, 1, true},
		"whole region":             {0, 0xa000, true},
		"one more":                 {0, 0xa001, false},
		"last byte":                {0x9fff, 1, true},
		"across the end":           {0x9fff, 2, false},
		"the hole":                 {0xa000, 1, false},
		"nothing in the hole":      {0xa000, 0, false},
		"across the hole":          {0x9000, 0x4000, false},
		"nothing":                  {0x123, 0, true},
		"second region":            {0xc000, 0x4000, true},
		"behind it":                {0x10000, 1, false},
		"all there is":             {0, math.MaxUint64, false},
		"overflow to the start":    {0x9000, math.MaxUint64 - 0x8fff, false},
		"last address there is":    {math.MaxUint64, 1, false},
		"overflow of last address": {math.MaxUint64, math.MaxUint64, false},
	} {
		b, ok := m.Slice(c.addr, c.n)
		if ok != c.ok {
			t.Errorf("%s: Slice(%#x, %#x) is %v, want %v", name, c.addr, c.n, ok, c.ok)
		}
		if ok && (uint64(len(b)) != c.n || len(b) != cap(b)) {
			t.Errorf("%s: %d bytes, capacity %d, want %d of both", name, len(b), cap(b), c.n)
		}
	}
}

// Look-ups agree with arithmetic that cannot overflow.
func TestLookupsAgreeWithArithmetic(t *testing.T) {
	fd := memfd(t, 0x10000)
	m := mustMap(t, twoRegions, []int{fd, fd})
	within := func(start, size, addr, n uint64) bool {
		sum := func(a, b uint64) *big.Int {
			return new(big.Int).Add(new(big.Int).SetUint64(a), new(big.Int).SetUint64(b))
		}
		return addr >= start && sum(start, size).Cmp(sum(addr, n)) >= 0 && addr-start < size
	}
	value := func(marks ...uint64) *rapid.Generator[uint64] {
		return rapid.OneOf(rapid.Uint64(), rapid.Custom(func(t *rapid.T) uint64 {
			mark := rapid.SampledFrom(append(marks, 0, math.MaxInt64, math.MaxUint64)).Draw(t, "near")
			return mark + uint64(rapid.Int64Range(-3, 3).Draw(t, "by"))
		}))
	}
	rapid.Check(t, func(t *rapid.T) {
		addr := value(0xa000, 0xc000, 0x10000, twoRegions[0].UserAddr, twoRegions[1].UserAddr).Draw(t, "addr")
		n := value(0xa000, 0x4000).Draw(t, "n")
		guest, user := false, false
		for _, r := range twoRegions {
			guest = guest || within(r.GuestAddr, r.Size, addr, n)
			user = user || within(r.UserAddr, r.Size, addr, n)
		}
		if b, ok := m.Slice(addr, n); ok != guest || ok && uint64(len(b)) != n {
			t.Fatalf("Slice(%#x, %#x): %v, want %v", addr, n, ok, guest)
		}
		if b, ok := m.UserSlice(addr, n); ok != user || ok && uint64(len(b)) != n {
			t.Fatalf("UserSlice(%#x, %#x): %v, want %v", addr, n, ok, user)
		}
	})
}

func TestWord(t *testing.T) {
	m, f, err := Alloc(0, 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = m.Unmap(), f.Close() }()
	page, _ := m.Slice(0, 4096)
	b := page[:16]
	for name, c := range map[string]struct {
		b   []byte
		off int
		ok  bool
	}{
		"first":           {b, 0, true},
		"last":            {b, 12, true},
		"cut":             {b, 13, false},
		"behind":          {b, 16, false},
		"far behind":      {b, math.MaxInt, false},
		"before":          {b, -4, false},
		"far before":      {b, math.MinInt, false},
		"not aligned":     {b, 2, false},
		"unaligned bytes": {page[2:16], 0, false},
		"aligned in them": {page[2:16], 2, true},
		"too short":       {b[:3], 0, false},
		"nothing":         {nil, 0, false},
	} {
		if _, ok := WordAt(c.b, c.off); ok != c.ok {
			t.Errorf("%s: %v, want %v", name, ok, c.ok)
		}
	}
	w, _ := WordAt(b, 4)
	w.Store(0x04030201)
	if got := binary.LittleEndian.Uint32(b[4:]); got != 0x04030201 {
		t.Errorf("the bytes of a stored word are %#x: this machine is not little-endian", got)
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	fd := memfd(t, 0x10000)
	m := mustMap(t, twoRegions, []int{fd, fd})
	if n := testing.AllocsPerRun(100, func() {
		_, _ = m.Slice(0xc000, 16)
		_, _ = m.UserSlice(twoRegions[1].UserAddr, 16)
		_ = guarded(m, func() {})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A table is what a front-end says it is: whatever Map accepts can be looked up
// and touched from end to end.
func FuzzMap(f *testing.F) {
	const size = 64 << 10
	fd := memfd(f, size)
	add := func(regions ...Region) {
		var b []byte
		for _, r := range regions {
			for _, v := range []uint64{r.GuestAddr, r.Size, r.UserAddr, r.MmapOffset} {
				b = binary.LittleEndian.AppendUint64(b, v)
			}
		}
		f.Add(b)
	}
	add(twoRegions...)
	add(Region{Size: 1, MmapOffset: 4095})
	add(Region{GuestAddr: math.MaxUint64 - 1, Size: 1}, Region{Size: math.MaxUint64})
	// One that lies over another, for the guest or for the front-end only, at its edge, or whole.
	at := func(guest, user, size uint64) Region { return Region{GuestAddr: guest, UserAddr: user, Size: size} }
	add(at(0x10000, 0x50000, 0x2000), at(0x11000, 0x90000, 0x2000))
	add(at(0x10000, 0x50000, 0x2000), at(0x90000, 0x51000, 0x2000))
	add(at(0x10000, 0x50000, 0x2000), at(0x11fff, 0x90000, 1))
	add(at(0x10000, 0x50000, 0x2000), at(0x10000, 0x50000, 0x2000))
	add(at(0x10000, 0x50000, 0x4000), at(0x11000, 0x51000, 0x1000), at(0xf000, 0x4f000, 0x6000))
	add(at(math.MaxUint64-0xfff, 0, 0x1000), at(0, math.MaxUint64-0xfff, 0x1000))
	f.Fuzz(func(t *testing.T, b []byte) {
		var regions []Region
		var fds []int
		for ; len(b) >= 32; b = b[32:] {
			le := binary.LittleEndian
			regions = append(regions, Region{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])})
			fds = append(fds, fd)
		}
		m, err := Map(regions, fds)
		if err != nil {
			return
		}
		for _, r := range regions {
			g, ok := m.Slice(r.GuestAddr, r.Size)
			if !ok {
				t.Fatalf("region %+v was mapped and is not there", r)
			}
			g[0], g[r.Size-1] = 1, 1
			if u, ok := m.UserSlice(r.UserAddr, r.Size); !ok || &u[0] != &g[0] {
				t.Fatalf("region %+v is at another place by its user address", r)
			}
		}
		if err := m.Unmap(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkSlice(b *testing.B) {
	fd := memfd(b, 0x10000)
	m := mustMap(b, twoRegions, []int{fd, fd})
	for name, addr := range map[string]uint64{"first": 0x1000, "second": 0xd000} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := m.Slice(addr, 4096-16); !ok {
					b.Fatal("not there")
				}
			}
		})
	}
}
