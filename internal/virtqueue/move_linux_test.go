package virtqueue

import (
	"testing"

	"vsockets.dev/internal/guestmem"
)

// Move goes on in another mapping of the same file, in the midst of everything:
// what was pushed is published there, and who asked for a kick still does.
func TestMove(t *testing.T) {
	for _, eventIdx := range []bool{true, false} {
		mem, f, err := guestmem.Alloc(memBase, memSize)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = mem.Unmap(), f.Close() }()
		desc, avail, used, _ := Layout(8)
		config := Config{Size: 8, Base: 65533, EventIdx: eventIdx, Desc: memBase + desc, Avail: memBase + avail, Used: memBase + used}
		b := &bed{mem: mem, config: config}
		p, q := b.peer(t), b.device(t)
		for i := range 8 {
			descriptor{addr: dataAddr + uint64(i), len: 1}.write(p.desc, i)
		}
		if q.EnableNotify() {
			t.Fatal("something available")
		}
		p.offer(0, 1, 2, 3)
		var c Chain
		for range 2 {
			if ok, err := q.Pop(&c); !ok || err != nil {
				t.Fatal(ok, err)
			}
			q.Push(c.Head, 7)
		}

		other, err := guestmem.Map([]guestmem.Region{{GuestAddr: memBase, UserAddr: memBase, Size: memSize}}, []int{int(f.Fd())})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Unmap() }()
		if err := q.Move(other); err != nil {
			t.Fatal(err)
		}
		if flags := p.usedHead.Load() & 0xffff; flags != 0 {
			t.Errorf("EVENT_IDX %v: kicks are off", eventIdx)
		}
		q.Publish()
		if es := p.usedSince(65533); len(es) != 2 || es[1] != (element{1, 7}) {
			t.Errorf("EVENT_IDX %v: used ring %v", eventIdx, es)
		}
		if ok, err := q.Pop(&c); !ok || err != nil || c.Head != 2 {
			t.Fatalf("EVENT_IDX %v: chain %d, %v, %v", eventIdx, c.Head, ok, err)
		}
		if here, _ := other.Slice(dataAddr+2, 1); &c.Readable[0][0] != &here[0] {
			t.Errorf("EVENT_IDX %v: a segment in the memory that was before", eventIdx)
		}
	}
}

func TestMoveRefuses(t *testing.T) {
	b := newBed(t, Config{Size: 8})
	p, q := b.peer(t), b.device(t)
	row(1)[0].write(p.desc, 0)
	small, f, err := guestmem.Alloc(memBase, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = small.Unmap(), f.Close() }()
	if err := q.Move(small); err == nil {
		t.Error("a queue is moved to where it has no place")
	}
	if !one(t, p, q) {
		t.Error("after that, no signal from where it is")
	}
}

// What is given back is there again, with the chains behind it: across the wrap of
// the index, and behind a bad one.
func TestUnpop(t *testing.T) {
	b := newBed(t, Config{Size: 8, Base: 65535})
	p, q := b.peer(t), b.device(t)
	for i := range 4 {
		descriptor{addr: dataAddr, len: uint32(i + 1)}.write(p.desc, i)
	}
	descriptor{addr: 0, len: 1}.write(p.desc, 4)
	p.offer(0, 1, 4, 2)
	var c Chain
	for _, want := range []uint16{0, 1, 2} {
		for range 3 {
			if ok, err := q.Pop(&c); !ok || err != nil || c.Head != want || c.ReadLen != int(want)+1 {
				t.Fatalf("chain %d of %d bytes, %v, %v; want %d", c.Head, c.ReadLen, ok, err, want)
			}
			q.Unpop()
			if !q.HasAvail() {
				t.Fatal("nothing there")
			}
		}
		if ok, err := q.Pop(&c); !ok || err != nil {
			t.Fatal(ok, err)
		}
		q.Push(c.Head, 0)
	}
	if ok, err := q.Pop(&c); ok || err != nil {
		t.Errorf("behind the last: %v, %v", ok, err)
	}
	if n := q.BadChains(); n != 1 {
		t.Errorf("%d bad chains, want 1", n)
	}
	q.Publish()
	if n := len(p.usedSince(65535)); n != 4 {
		t.Errorf("%d chains came back, want 4", n)
	}
}
