package virtqueue

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/guestmem"
)

// tableAddr is where the tests of chains put an indirect table.
const tableAddr = dataAddr + 128<<10

// chainCase is a chain that begins at descriptor 0 of a queue of 8.
type chainCase struct {
	descs    []descriptor
	table    []descriptor // at tableAddr
	indirect bool         // negotiated
}

func (c chainCase) offer(t *testing.T) (*peer, *Device) {
	t.Helper()
	b := newBed(t, Config{Size: 8, Indirect: c.indirect})
	p := b.peer(t)
	for i, d := range c.descs {
		d.write(p.desc, i)
	}
	b.table(t, tableAddr, c.table...)
	q := b.device(t)
	p.offer(0)
	return p, q
}

// reference is a descriptor of an indirect table of n entries.
func reference(n int, flags uint16) descriptor {
	return descriptor{addr: tableAddr, len: uint32(n * descSize), flags: flagIndirect | flags}
}

func TestBadChains(t *testing.T) {
	data := func(n uint32, flags, next uint16) descriptor {
		return descriptor{addr: dataAddr, len: n, flags: flags, next: next}
	}
	at := func(addr uint64, n uint32) []descriptor { return []descriptor{{addr: addr, len: n}} }
	for name, c := range map[string]chainCase{
		"loop to itself":             {descs: []descriptor{data(8, flagNext, 0)}},
		"loop of two":                {descs: []descriptor{data(8, flagNext, 1), data(8, flagNext, 0)}},
		"loop of empty buffers":      {descs: []descriptor{data(0, flagNext, 0)}},
		"next is out of the table":   {descs: []descriptor{data(8, flagNext, 8)}},
		"next is far out of it":      {descs: []descriptor{data(8, flagNext, math.MaxUint16)}},
		"address 0":                  {descs: at(0, 8)},
		"below the memory":           {descs: at(memBase-1, 8)},
		"behind the memory":          {descs: at(memEnd, 1)},
		"across its end":             {descs: at(memEnd-7, 8)},
		"more than there is":         {descs: at(memBase, math.MaxUint32)},
		"address overflow":           {descs: at(math.MaxUint64-7, 8)},
		"address overflow into it":   {descs: at(math.MaxUint64-7, memBase+16)},
		"readable after writable":    {descs: []descriptor{data(8, flagNext|flagWrite, 1), data(8, 0, 0)}},
		"readable after empty write": {descs: []descriptor{data(0, flagNext|flagWrite, 1), data(8, 0, 0)}},
		"empty read after writable":  {descs: []descriptor{data(8, flagNext|flagWrite, 1), data(0, 0, 0)}},
		"bad after good":             {descs: []descriptor{data(8, flagNext, 1), {addr: 0, len: 1}}},

		"indirect, not negotiated":     {descs: []descriptor{reference(1, 0)}, table: row(1)},
		"indirect and next":            {descs: []descriptor{reference(1, flagNext)}, table: row(1), indirect: true},
		"indirect, empty table":        {descs: []descriptor{reference(0, 0)}, indirect: true},
		"indirect, part of an entry":   {descs: []descriptor{{addr: tableAddr, len: descSize + 1, flags: flagIndirect}}, table: row(2), indirect: true},
		"indirect, less than an entry": {descs: []descriptor{{addr: tableAddr, len: descSize - 1, flags: flagIndirect}}, table: row(1), indirect: true},
		"indirect, table is nowhere":   {descs: []descriptor{{addr: memEnd, len: descSize, flags: flagIndirect}}, indirect: true},
		"indirect, table crosses end":  {descs: []descriptor{{addr: memEnd - descSize, len: 2 * descSize, flags: flagIndirect}}, indirect: true},
		"indirect, largest table":      {descs: []descriptor{{addr: tableAddr, len: math.MaxUint32 &^ (descSize - 1), flags: flagIndirect}}, indirect: true},
		"indirect, nested":             {descs: []descriptor{reference(2, 0)}, table: []descriptor{reference(1, 0), data(8, 0, 0)}, indirect: true},
		"indirect, itself":             {descs: []descriptor{reference(1, 0)}, table: []descriptor{reference(1, 0)}, indirect: true},
		"indirect, next out of table":  {descs: []descriptor{reference(1, 0)}, table: []descriptor{data(8, flagNext, 1)}, indirect: true},
		"indirect, loop":               {descs: []descriptor{reference(2, 0)}, table: []descriptor{data(8, flagNext, 1), data(8, flagNext, 0)}, indirect: true},
		"indirect, too long":           {descs: []descriptor{reference(9, 0)}, table: row(9), indirect: true},
		"indirect, too long with rest": {descs: []descriptor{data(8, flagNext, 1), reference(8, 0)}, table: row(8), indirect: true},
		"indirect, wrong order":        {descs: []descriptor{data(8, flagWrite|flagNext, 1), reference(1, 0)}, table: row(1), indirect: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, q := c.offer(t)
			descriptor{addr: dataAddr, len: 8}.write(p.desc, 7)
			p.offer(7)

			var ch Chain
			if ok, err := q.Pop(&ch); !ok || err != nil || ch.Head != 7 {
				t.Fatalf("Pop gives chain %d, %v, %v; want the good one behind, 7", ch.Head, ok, err)
			}
			if n := q.BadChains(); n != 1 {
				t.Errorf("%d bad chains counted, want 1", n)
			}
			q.Push(ch.Head, 0)
			if !q.Publish() {
				t.Error("the driver is not told that its bad chain is back")
			}
			if d := cmp.Diff([]element{{0, 0}, {7, 0}}, p.usedSince(0)); d != "" {
				t.Errorf("used ring (-want +got):\n%s", d)
			}
		})
	}
}

func TestGoodChains(t *testing.T) {
	read := func(off uint64, n uint32, next uint16) descriptor {
		return descriptor{addr: dataAddr + off, len: n, flags: flagNext, next: next}
	}
	last := func(d descriptor) descriptor { d.flags &^= flagNext; return d }
	write := func(d descriptor) descriptor { d.flags |= flagWrite; return d }
	type want struct{ readable, writable []int }
	eights := func(n int) (s []int) {
		for range n {
			s = append(s, 8)
		}
		return s
	}
	for name, c := range map[string]struct {
		chainCase
		want
	}{
		"one read":              {chainCase{descs: []descriptor{last(read(0, 44, 0))}}, want{[]int{44}, nil}},
		"one write":             {chainCase{descs: []descriptor{write(last(read(0, 4096, 0)))}}, want{nil, []int{4096}}},
		"read and write":        {chainCase{descs: []descriptor{read(0, 1, 3), {}, {}, write(last(read(1, 2, 0)))}}, want{[]int{1}, []int{2}}},
		"as long as the queue":  {chainCase{descs: row(8)}, want{eights(8), nil}},
		"up to the last byte":   {chainCase{descs: []descriptor{{addr: memEnd - 8, len: 8}}}, want{[]int{8}, nil}},
		"the whole memory":      {chainCase{descs: []descriptor{{addr: memBase, len: memSize}}}, want{[]int{memSize}, nil}},
		"empty ones among them": {chainCase{descs: []descriptor{read(0, 0, 1), read(0, 5, 2), last(read(0, 0, 0))}}, want{[]int{5}, nil}},
		"empty one of nowhere":  {chainCase{descs: []descriptor{{addr: 0, len: 0}}}, want{}},
		"flags of the future":   {chainCase{descs: []descriptor{{addr: dataAddr, len: 3, flags: 0xfff8, next: 9}}}, want{[]int{3}, nil}},

		"indirect":                      {chainCase{descs: []descriptor{reference(2, 0)}, table: row(2), indirect: true}, want{eights(2), nil}},
		"indirect, as long as queue":    {chainCase{descs: []descriptor{reference(8, 0)}, table: row(8), indirect: true}, want{eights(8), nil}},
		"indirect, after plain ones":    {chainCase{descs: []descriptor{read(0, 1, 1), reference(7, 0)}, table: row(7), indirect: true}, want{append([]int{1}, eights(7)...), nil}},
		"indirect, spare entries":       {chainCase{descs: []descriptor{reference(20, 0)}, table: append(row(3), make([]descriptor, 17)...), indirect: true}, want{eights(3), nil}},
		"indirect, write flag is void":  {chainCase{descs: []descriptor{reference(1, flagWrite)}, table: row(1), indirect: true}, want{eights(1), nil}},
		"indirect, entries in disorder": {chainCase{descs: []descriptor{reference(3, 0)}, table: []descriptor{read(0, 1, 2), write(last(read(0, 2, 0))), read(0, 3, 1)}, indirect: true}, want{[]int{1, 3}, []int{2}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, q := c.offer(t)
			var ch Chain
			if ok, err := q.Pop(&ch); !ok || err != nil {
				t.Fatalf("Pop: %v, %v; %d bad", ok, err, q.BadChains())
			}
			got := want{lengths(ch.Readable), lengths(ch.Writable)}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); d != "" {
				t.Errorf("segments (-want +got):\n%s", d)
			}
			checkChain(t, &ch, 8)
			if ok, err := q.Pop(&ch); ok || err != nil {
				t.Errorf("second Pop: %v, %v", ok, err)
			}
		})
	}
}

func lengths(segs [][]byte) (ns []int) {
	for _, s := range segs {
		ns = append(ns, len(s))
	}
	return ns
}

// checkChain checks what holds for every chain.
func checkChain(t testing.TB, c *Chain, size int) {
	t.Helper()
	if n := len(c.Readable) + len(c.Writable); n > size {
		t.Fatalf("%d segments in a queue of %d", n, size)
	}
	for what, x := range map[string]struct {
		segs  [][]byte
		total int
	}{"readable": {c.Readable, c.ReadLen}, "writable": {c.Writable, c.WriteLen}} {
		total := 0
		for _, s := range x.segs {
			if len(s) == 0 || len(s) != cap(s) {
				t.Fatalf("%s segment of length %d, capacity %d", what, len(s), cap(s))
			}
			total += len(s)
		}
		if total != x.total {
			t.Fatalf("%s: %d bytes in segments that add up to %d", what, x.total, total)
		}
	}
	if c.ReadLen+c.WriteLen > MaxChainBytes || c.ReadLen+c.WriteLen < 0 {
		t.Fatalf("a chain of %d and %d bytes", c.ReadLen, c.WriteLen)
	}
}

// A head that is no descriptor cannot be given back.
func TestHeadOutOfRange(t *testing.T) {
	b := newBed(t, Config{Size: 4})
	p, q := b.peer(t), b.device(t)
	p.offer(4, math.MaxUint16)
	var c Chain
	if ok, err := q.Pop(&c); ok || err != nil {
		t.Fatalf("Pop: %v, %v", ok, err)
	}
	if n := q.BadChains(); n != 2 {
		t.Errorf("%d bad chains, want 2", n)
	}
	if q.Publish() || len(p.usedSince(0)) != 0 {
		t.Errorf("used ring: %v", p.usedSince(0))
	}
	if q.HasAvail() {
		t.Error("they are still available")
	}
}

// Two buffers of 1 GiB, which overlap: a byte less is the most a chain holds.
func TestChainOfTooManyBytes(t *testing.T) {
	const size, head = 1<<30 + 1<<20, 1 << 20
	mem, f, err := guestmem.Alloc(0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = mem.Unmap(), f.Close() }()
	desc, avail, used, _ := Layout(4)
	b := &bed{mem: mem, config: Config{Size: 4, Desc: desc, Avail: avail, Used: used}}
	p, q := b.peer(t), b.device(t)
	d := descriptor{addr: head, len: 1 << 30, flags: flagNext, next: 1}
	d.write(p.desc, 0)
	descriptor{addr: head, len: 1<<30 - 1}.write(p.desc, 1)
	p.offer(0)
	var c Chain
	if ok, err := q.Pop(&c); !ok || err != nil || c.ReadLen != MaxChainBytes {
		t.Errorf("the largest chain: %v, %v, %d bytes", ok, err, c.ReadLen)
	}
	descriptor{addr: head, len: 1 << 30}.write(p.desc, 1)
	p.offer(0)
	if ok, err := q.Pop(&c); ok || err != nil || q.BadChains() != 1 {
		t.Errorf("a byte more: %v, %v, %d bad", ok, err, q.BadChains())
	}
}

// A sender to a guest runs Pop on the guest's ring in its own time. With nothing
// but loops of the full length in it, a call still goes through no more than two
// of them; each comes back all the same.
func TestPopIsBounded(t *testing.T) {
	const size = 64
	b := newBed(t, Config{Size: size})
	p, q := b.peer(t), b.device(t)
	for i := range size {
		descriptor{addr: dataAddr, len: 8, flags: flagNext, next: uint16(i)}.write(p.desc, i)
		p.offer(uint16(i))
	}
	var c Chain
	for i := range size / maxWaste {
		if !q.HasAvail() {
			t.Fatalf("nothing available after %d calls", i)
		}
		if ok, err := q.Pop(&c); ok || err != nil {
			t.Fatalf("Pop: %v, %v", ok, err)
		}
		if n := q.BadChains(); n != uint64(maxWaste*(i+1)) {
			t.Fatalf("after %d calls, %d loops were gone through", i+1, n)
		}
	}
	if q.HasAvail() {
		t.Error("more than was offered")
	}
	q.Publish()
	if n := len(p.usedSince(0)); n != size {
		t.Errorf("%d of %d bad chains came back", n, size)
	}

	for i := range size { // chains that are bad at once are all done in one call
		descriptor{addr: 0, len: 8}.write(p.desc, i)
		p.offer(uint16(i))
	}
	if ok, err := q.Pop(&c); ok || err != nil || q.BadChains() != 2*size {
		t.Errorf("Pop: %v, %v, %d bad", ok, err, q.BadChains())
	}
}

// The segments of a chain are used again: no garbage for each packet.
func TestPopDoesNotAllocate(t *testing.T) {
	b := newBed(t, Config{Size: 8, Indirect: true})
	p, q := b.peer(t), b.device(t)
	for i, d := range row(8) {
		d.write(p.desc, i)
	}
	var c Chain
	if n := testing.AllocsPerRun(100, func() {
		p.offer(0)
		if ok, _ := q.Pop(&c); !ok {
			t.Fatal("nothing")
		}
		q.Push(c.Head, 0)
		q.Publish()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
