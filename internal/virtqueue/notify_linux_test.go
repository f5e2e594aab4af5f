package virtqueue

import "testing"

// one makes a chain available and takes, returns and publishes it.
func one(t *testing.T, p *peer, q *Device) (signal bool) {
	t.Helper()
	p.offer(0)
	var c Chain
	if ok, err := q.Pop(&c); !ok || err != nil {
		t.Fatalf("Pop: %v, %v", ok, err)
	}
	q.Push(c.Head, 0)
	return q.Publish()
}

func notifyBed(t *testing.T, c Config) (*bed, *peer, *Device) {
	t.Helper()
	b := newBed(t, c)
	p, q := b.peer(t), b.device(t)
	row(1)[0].write(p.desc, 0)
	return b, p, q
}

func TestNotifyByFlags(t *testing.T) {
	b, p, q := notifyBed(t, Config{Size: 4, Base: 65535})
	noKick := func() bool { return p.usedHead.Load()&0xffff == noEvents }

	if q.EnableNotify() || noKick() {
		t.Error("nothing to do, and a kick is wanted")
	}
	if !one(t, p, q) {
		t.Error("no signal for a driver that wants each")
	}
	p.availHead.Store(p.availHead.Load() | noEvents)
	if one(t, p, q) {
		t.Error("a signal for a driver that wants none")
	}
	if q.Publish() {
		t.Error("a signal for nothing")
	}
	q.DisableNotify()
	if !noKick() || p.usedHead.Load()>>16 != 1 {
		t.Errorf("used ring's head: %#x", p.usedHead.Load())
	}
	one(t, p, q)
	if !noKick() || p.usedHead.Load()>>16 != 2 {
		t.Errorf("used ring's head after Publish: %#x", p.usedHead.Load())
	}
	p.offer(0)
	if !q.EnableNotify() || noKick() {
		t.Error("EnableNotify overlooks what came before it")
	}

	// The memory table changes while kicks are off, and a new Device takes over.
	q.DisableNotify()
	b.config.Base = q.Base()
	next := b.device(t)
	next.EnableNotify()
	if noKick() {
		t.Error("the flag of the earlier device stays: the driver never kicks again")
	}
}

func TestNotifyByEventIdx(t *testing.T) {
	_, p, q := notifyBed(t, Config{Size: 4, Base: 65534, EventIdx: true})
	p.availHead.Store(p.availHead.Load() | noEvents) // means nothing here

	p.usedEvent.store(65535)
	if one(t, p, q) {
		t.Error("a signal one too early")
	}
	if !one(t, p, q) {
		t.Error("no signal where one is wanted")
	}
	if one(t, p, q) {
		t.Error("a second signal for one event")
	}
	if q.EnableNotify() {
		t.Error("something available")
	}
	if got := p.availEvent.load(); got != 1 {
		t.Errorf("avail_event is %d, want 1", got)
	}
	p.offer(0)
	if !q.EnableNotify() {
		t.Error("EnableNotify overlooks what came before it")
	}
	q.DisableNotify()
	if flags := p.usedHead.Load() & 0xffff; flags != 0 {
		t.Errorf("used.flags is %#x, and must be 0 with EVENT_IDX", flags)
	}
}

// A batch is signalled if the awaited index is anywhere in it.
func TestSignalForBatch(t *testing.T) {
	for _, event := range []uint16{65532, 65533, 65534, 65535, 0, 1} {
		_, p, q := notifyBed(t, Config{Size: 4, Base: 65533, EventIdx: true})
		p.usedEvent.store(event)
		p.offer(0, 0, 0, 0)
		var c Chain
		for range 4 {
			if ok, err := q.Pop(&c); !ok || err != nil {
				t.Fatal(ok, err)
			}
			q.Push(c.Head, 0)
		}
		if len(p.usedSince(65533)) != 0 {
			t.Error("visible before Publish")
		}
		want := event != 65532 && event != 1
		if got := q.Publish(); got != want {
			t.Errorf("from 65533 to 1 with used_event %d: signal %v", event, got)
		}
	}
}

// Of a queue of one, used_event is the upper half of its word.
func TestQueueOfOne(t *testing.T) {
	b := newBed(t, Config{Size: 1, Base: 65535, EventIdx: true})
	q, d := b.device(t), b.driver(t)
	var c Chain
	for i := range 4 {
		if d.EnableNotify() || q.EnableNotify() {
			t.Fatal("a queue that is not empty")
		}
		if _, ok := d.Add([]Buffer{{dataAddr, 4}}, nil); !ok || !d.Publish() {
			t.Fatalf("round %d: added %v, no kick", i, ok)
		}
		if _, ok := d.Add([]Buffer{{dataAddr, 4}}, nil); ok {
			t.Fatal("a second chain in a queue of one")
		}
		if ok, err := q.Pop(&c); !ok || err != nil || c.ReadLen != 4 {
			t.Fatalf("round %d: Pop %v, %v", i, ok, err)
		}
		if q.Push(c.Head, 0); !q.Publish() {
			t.Fatalf("round %d: no signal", i)
		}
		if _, _, ok, err := d.Used(); !ok || err != nil {
			t.Fatalf("round %d: Used %v, %v", i, ok, err)
		}
	}
}
