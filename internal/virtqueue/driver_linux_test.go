package virtqueue

import (
	"math"
	"strings"
	"testing"
)

// pair is two chains that the device has: one of descriptors 0 and 1 with 40
// writable bytes, and one of descriptor 2.
func pair(t *testing.T, base uint16) (*peer, *Driver) {
	t.Helper()
	b := newBed(t, Config{Size: 4, Base: base})
	p, q := b.peer(t), b.driver(t)
	h0, ok0 := q.Add([]Buffer{{dataAddr, 10}}, []Buffer{{dataAddr + 10, 40}})
	h1, ok1 := q.Add([]Buffer{{dataAddr, 10}}, nil)
	if !ok0 || !ok1 || h0 != 0 || h1 != 2 || q.Free() != 1 {
		t.Fatalf("chains %d and %d, %v and %v; %d free", h0, h1, ok0, ok1, q.Free())
	}
	if !q.Publish() {
		t.Fatal("no kick")
	}
	return p, q
}

func TestUsedRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		device func(p *peer)
		want   string
	}{
		"index jumps":          {func(p *peer) { p.usedHead.Store(uint32(p.usedIdx+5) << 16) }, "jumps"},
		"index goes back":      {func(p *peer) { p.usedHead.Store(uint32(p.usedIdx-1) << 16) }, "jumps"},
		"free descriptor":      {func(p *peer) { p.giveBack(3, 0) }, "does not have"},
		"inside of a chain":    {func(p *peer) { p.giveBack(1, 0) }, "does not have"},
		"no descriptor":        {func(p *peer) { p.giveBack(4, 0) }, "does not have"},
		"no 16-bit descriptor": {func(p *peer) { p.giveBack(1<<16, 0) }, "does not have"},
		"largest":              {func(p *peer) { p.giveBack(math.MaxUint32, 0) }, "does not have"},
	} {
		for _, base := range []uint16{0, 65534} {
			t.Run(name, func(t *testing.T) {
				p, q := pair(t, base)
				c.device(p)
				_, _, ok, err := q.Used()
				if ok || err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, error %v; want one that tells of %q", ok, err, c.want)
				}
				if q.Free() != 1 {
					t.Errorf("%d free", q.Free())
				}
			})
		}
	}
}

func TestUsedTwice(t *testing.T) {
	p, q := pair(t, 65535)
	p.giveBack(0, 0)
	p.giveBack(0, 0)
	if _, _, ok, err := q.Used(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, ok, err := q.Used(); ok || err == nil {
		t.Error("the same chain came back twice")
	}
}

func TestUsed(t *testing.T) {
	p, q := pair(t, 65534)
	if _, _, ok, err := q.Used(); ok || err != nil {
		t.Fatalf("before anything came back: %v, %v", ok, err)
	}
	for i := range p.desc { // the device writes where it should not
		p.desc[i] = 0xff
	}
	p.giveBack(2, 77) // it has nothing writable
	p.giveBack(0, math.MaxUint32)
	for _, want := range []struct {
		head    uint16
		written uint32
		free    int
	}{{2, 0, 2}, {0, 40, 4}} {
		head, written, ok, err := q.Used()
		if !ok || err != nil || head != want.head || written != want.written || q.Free() != want.free {
			t.Errorf("got chain %d with %d, %v, %v and %d free; want %+v", head, written, ok, err, q.Free(), want)
		}
	}
	// All descriptors can be used again.
	if _, ok := q.Add([]Buffer{{dataAddr, 1}, {dataAddr, 1}}, []Buffer{{dataAddr, 1}, {dataAddr, 1}}); !ok || q.Free() != 0 {
		t.Errorf("added %v, %d free", ok, q.Free())
	}
	if _, ok := q.Add(nil, []Buffer{{dataAddr, 1}}); ok {
		t.Error("a chain of no descriptors")
	}
}

func TestAddRefuses(t *testing.T) {
	b := newBed(t, Config{Size: 4})
	q := b.driver(t)
	if _, ok := q.Add(nil, nil); ok {
		t.Error("a chain of nothing")
	}
	if _, ok := q.Add(make([]Buffer, 3), make([]Buffer, 2)); ok {
		t.Error("a chain longer than the queue")
	}
	if q.Publish() {
		t.Error("a kick for nothing")
	}
	if q.Free() != 4 {
		t.Errorf("%d free", q.Free())
	}
}

func TestDriverNotifyByFlags(t *testing.T) {
	p, q := pair(t, 0)
	q.DisableNotify()
	if p.availHead.Load() != 2<<16|noEvents {
		t.Errorf("available ring's head: %#x", p.availHead.Load())
	}
	if q.EnableNotify() || p.availHead.Load() != 2<<16 {
		t.Errorf("available ring's head: %#x", p.availHead.Load())
	}
	p.giveBack(2, 0)
	if !q.EnableNotify() {
		t.Error("EnableNotify overlooks what came before it")
	}
	p.usedHead.Store(p.usedHead.Load() | noEvents)
	if q.Add(nil, []Buffer{{dataAddr, 1}}); q.Publish() {
		t.Error("a kick for a device that wants none")
	}
}

// A driver gets no signal that it has not asked for.
func TestDriverStartsSilent(t *testing.T) {
	for _, base := range []uint16{0, 65535} {
		b := newBed(t, Config{Size: 4, Base: base, EventIdx: true})
		d := b.driver(t)
		q := b.device(t)
		q.EnableNotify()
		d.Add([]Buffer{{dataAddr, 1}}, nil)
		if !d.Publish() {
			t.Error("no kick for a device that waits")
		}
		var c Chain
		if ok, err := q.Pop(&c); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if q.Push(c.Head, 0); q.Publish() {
			t.Error("a signal that nobody asked for")
		}
		if !d.EnableNotify() {
			t.Error("EnableNotify overlooks what came before it")
		}
	}
}
