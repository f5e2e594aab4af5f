package device

import (
	"encoding/binary"
	"errors"
	"testing"

	"vsockets.dev/internal/virtqueue"
)

const (
	eventRingAddr = memBase + 64<<10
	eventArea     = memBase + 128<<10
)

// withEvents starts a guest that leaves the event queue to the device.
func withEvents(t *testing.T, features uint64) (*guest, *end) {
	t.Helper()
	g := newGuest(t, features).start()
	e := g.newEnd(eventRingAddr)
	t.Cleanup(func() { _, _ = e.kick.Close(), e.call.Close() })
	g.startEvents(&e)
	t.Cleanup(g.stop) // before the doorbells close
	return g, &e
}

func (g *guest) startEvents(e *end) {
	g.t.Helper()
	must(g.t, g.device.StartQueue(eventQueue, configAt(e)))
	must(g.t, g.device.EnableQueue(eventQueue, true))
}

// offer gives event buffers of a size to the device.
func (e *end) offer(t *testing.T, n, size int) {
	t.Helper()
	for i := range n {
		b := virtqueue.Buffer{Addr: eventArea + uint64(e.Free())*64, Len: uint32(size)}
		if _, ok := e.Add(nil, []virtqueue.Buffer{b}); !ok {
			t.Fatalf("no room for event buffer %d", i)
		}
	}
	e.publish()
}

// quiet fails the test if there is an event.
func (e *end) quiet(t *testing.T, when string) {
	t.Helper()
	if _, _, ok, err := e.Used(); ok || err != nil {
		t.Errorf("%s: an event (%v)", when, err)
	}
}

func (g *guest) event(e *end) uint32 {
	g.t.Helper()
	area := g.bytes(eventArea, 64*(ringSize+1))
	for i := range area {
		area[i] = 0xee
	}
	g.device.ChangeCID(g.device.cid.Load() + 1)
	head, written := g.used(e)
	if written != eventSize {
		g.t.Errorf("an event of %d bytes", written)
	}
	d := g.bytes(e.addr+16*uint64(head), 16)
	return binary.LittleEndian.Uint32(g.bytes(binary.LittleEndian.Uint64(d), 4))
}

// TestEvent tells a guest of its new CID.
func TestEvent(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g, e := withEvents(t, features)
			if !g.device.HasEvents() {
				t.Fatal("the guest has no events")
			}
			e.offer(t, 2, 8)
			e.quiet(t, "before the change")
			for range 2 {
				if id := g.event(e); id != transportReset {
					t.Errorf("event %#x, want a transport reset", id)
				}
			}
			if cid := binary.LittleEndian.Uint64(g.device.Config()); cid != guestCID+2 {
				t.Errorf("the CID is %d", cid)
			}
			e.quiet(t, "after the change")
			g.intact()
		})
	}
}

// TestEventLater has the guest give a buffer when the event is due already.
func TestEventLater(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g, e := withEvents(t, features)
			for range 3 { // one event tells of all
				g.device.ChangeCID(g.device.cid.Load() + 1)
			}
			e.offer(t, 4, 4)
			g.used(e)
			e.quiet(t, "a second time")
			g.intact()
		})
	}
}

func TestNoEvents(t *testing.T) {
	g := newGuest(t, features).start()
	if g.device.HasEvents() || g.device.ChangeCID(9) {
		t.Error("a guest without the queue is told")
	}
	e := g.newEnd(eventRingAddr)
	t.Cleanup(func() { _, _ = e.kick.Close(), e.call.Close() })
	e.offer(t, 1, 4)
	g.startEvents(&e) // it reads its CID as it does so
	t.Cleanup(g.stop)
	e.quiet(t, "as it starts")
	must(t, g.device.EnableQueue(eventQueue, false))
	if g.device.HasEvents() || g.device.ChangeCID(10) {
		t.Error("a queue that rests is used")
	}
	if len(g.downs) != 0 {
		t.Error("that ended the guest's connections")
	}
}

// TestEventStop forgets what was due: a guest that starts again reads its CID.
func TestEventStop(t *testing.T) {
	g, _ := withEvents(t, features)
	g.device.ChangeCID(9)
	if _, err := g.device.StopQueue(eventQueue); err != nil {
		t.Fatal(err)
	}
	again := g.newEnd(eventRingAddr)
	t.Cleanup(func() { _, _ = again.kick.Close(), again.call.Close() })
	again.offer(t, 2, 4)
	g.startEvents(&again)
	t.Cleanup(g.stop)
	again.quiet(t, "after the queue was stopped")
	g.device.ChangeCID(10)
	g.used(&again)
	again.quiet(t, "twice")
}

// TestEventHostile gives the device event queues that are of no use: the session ends,
// and the device does not spin.
func TestEventHostile(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(t *testing.T, g *guest, e *end)
		fail bool
		told bool // in the end, all the same
	}{
		"a few small buffers": {func(t *testing.T, _ *guest, e *end) {
			e.offer(t, eventTries-1, 3)
			e.offer(t, 1, 4)
		}, false, true},
		"small buffers without an end": {func(t *testing.T, _ *guest, e *end) { e.offer(t, 4*eventTries, 1) }, true, false},
		"nothing to write to": {func(_ *testing.T, g *guest, e *end) {
			for range 2 * eventTries {
				e.Add(g.place(eventArea, make([]byte, 8)), nil)
			}
			e.publish()
		}, true, false},
		"the index jumps": {func(_ *testing.T, g *guest, e *end) {
			_, avail, _, _ := virtqueue.Layout(ringSize)
			binary.LittleEndian.PutUint16(g.bytes(e.addr+avail+2, 2), ringSize+1)
			_ = e.kick.Signal()
		}, true, false},
		"no such chain": {func(_ *testing.T, g *guest, e *end) {
			_, avail, _, _ := virtqueue.Layout(ringSize)
			b := g.bytes(e.addr+avail, 8)
			binary.LittleEndian.PutUint16(b[4:], 0xffff)
			binary.LittleEndian.PutUint16(b[2:], 1)
			_ = e.kick.Signal()
		}, false, false},
	} {
		for _, before := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "/before", false: "/after"}[before], func(t *testing.T) {
				g, e := withEvents(t, features&^featureEventIdx)
				if before {
					tc.do(t, g, e)
					g.device.ChangeCID(9)
				} else {
					g.device.ChangeCID(9)
					tc.do(t, g, e)
				}
				switch {
				case tc.fail:
					if err := receive(t, g.failed, "the end of the session"); err == nil || errors.Is(err, errSmallBuffer) {
						t.Errorf("it ends with %v", err)
					}
					if g.device.HasEvents() || g.device.ChangeCID(11) {
						t.Error("a broken queue is used")
					}
				case tc.told:
					for {
						if _, n := g.used(e); n == eventSize {
							break
						}
					}
					g.intact()
				default:
					g.intact()
					if !g.device.HasEvents() {
						t.Error("the queue has ended")
					}
				}
			})
		}
	}
}
