package device

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// A payload larger than the guest's buffers goes as several packets, of which the
// last has the mark of a message's end.
func TestRXSplit(t *testing.T) {
	data := pattern(4000)
	for name, c := range map[string]struct {
		room, piece int // of each buffer
		payload     [][]byte
		want        []int // length of each packet
	}{
		"one buffer":               {4096, 0, [][]byte{data[:250]}, []int{250}},
		"just fits":                {250, 0, [][]byte{data[:250]}, []int{250}},
		"one byte over":            {249, 0, [][]byte{data[:250]}, []int{249, 1}},
		"three":                    {100, 0, [][]byte{data[:250]}, []int{100, 100, 50}},
		"a byte each":              {1, 0, [][]byte{data[:5]}, []int{1, 1, 1, 1, 1}},
		"buffers of small pieces":  {100, 7, [][]byte{data[:250]}, []int{100, 100, 50}},
		"payload in small pieces":  {100, 0, each(data[:250], 3), []int{100, 100, 50}},
		"both":                     {100, 13, each(data[:250], 11), []int{100, 100, 50}},
		"payload with empty parts": {100, 0, [][]byte{nil, data[:10], {}, data[10:150], nil}, []int{100, 50}},
		"no payload":               {100, 0, nil, []int{0}},
		"no payload and no room":   {0, 0, nil, []int{0}},
		"no room in any piece":     {0, 1, nil, []int{0}},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				g := newGuest(t, features).start()
				for range len(c.want) {
					g.buffer(packet.HeaderSize+c.room, c.piece)
				}
				g.rx.publish()
				p := toGuest(packet.OpRW, c.payload...)
				p.Flags = 1
				n, ok := g.device.Take(p, newWaker())
				if n != int(p.Len) || !ok {
					t.Errorf("Take: %d of %d, %v", n, p.Len, ok)
				}
				off := 0
				for i, want := range c.want {
					h, payload := g.arrived()
					wantH := p.Header
					wantH.Len = uint32(want)
					if i < len(c.want)-1 {
						wantH.Flags = 0
					}
					if h != wantH {
						t.Errorf("packet %d: %v, want %v", i, &h, &wantH)
					}
					if string(payload) != string(data[off:off+want]) {
						t.Errorf("packet %d: payload of %d bytes is not what was sent", i, len(payload))
					}
					off += want
				}
			})
		}
	}
}

// Flags of a SHUTDOWN are of another kind, and stay.
func TestRXKeepsFlags(t *testing.T) {
	g := newGuest(t, features).start()
	g.buffers(1, packet.HeaderSize)
	p := toGuest(packet.OpShutdown)
	p.Flags = packet.ShutdownBoth
	if _, ok := g.device.Take(p, newWaker()); !ok {
		t.Fatal("refused")
	}
	if h, _ := g.arrived(); h != p.Header {
		t.Errorf("%v, want %v", &h, &p.Header)
	}
}

// A guest whose buffers cannot take a packet is of no more use. Its session ends,
// once, and meanwhile whoever sends to it is refused.
func TestRXSmallBuffer(t *testing.T) {
	for name, c := range map[string]struct {
		size int
		p    *packet.Packet
	}{
		"less than a header":        {packet.HeaderSize - 1, toGuest(packet.OpRequest)},
		"one byte":                  {1, toGuest(packet.OpRequest)},
		"header alone, for payload": {packet.HeaderSize, toGuest(packet.OpRW, []byte("x"))},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, features).start()
			g.buffers(4, c.size)
			if n, ok := g.device.Take(c.p, newWaker()); !ok || n != int(c.p.Len) {
				t.Errorf("Take: %d, %v", n, ok)
			}
			if err := receive(t, g.failed, "the end of the session"); !errors.Is(err, errSmallBuffer) {
				t.Errorf("the session ends with %v", err)
			}
			for range 3 {
				if _, ok := g.device.Take(toGuest(packet.OpRequest), newWaker()); !ok {
					t.Error("a sender is made to wait for a guest that is done")
				}
				if r := g.out.next(t); r.Op != packet.OpReset {
					t.Errorf("the answer is %v", &r.Header)
				}
			}
			g.intact() // not a second time
		})
	}
}

// A chain that the device may not write has no room either.
func TestRXReadableBuffer(t *testing.T) {
	g := newGuest(t, features).start()
	if _, ok := g.rx.Add([]virtqueue.Buffer{{Addr: rxArea, Len: 4096}}, nil); !ok {
		t.Fatal("not added")
	}
	g.rx.publish()
	g.device.Take(toGuest(packet.OpRequest), newWaker())
	if err := receive(t, g.failed, "the end of the session"); !errors.Is(err, errSmallBuffer) {
		t.Errorf("the session ends with %v", err)
	}
}

// A sender that finds no room is refused, and woken when there is some, time and
// again: if the device forgets to ask for a kick, this hangs.
func TestRXRefusesAndWakes(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			w := newWaker()
			for range 1000 {
				if n, ok := g.device.Take(toGuest(packet.OpRequest), w); ok || n != 0 {
					t.Fatalf("Take without a buffer: %d, %v", n, ok)
				}
				g.buffers(1, packet.HeaderSize)
				receive(t, w, "room")
				if _, ok := g.device.Take(toGuest(packet.OpRequest), w); !ok {
					t.Fatal("refused, though there is room")
				}
				g.arrived()
			}
			if len(w) != 0 {
				t.Errorf("woken %d times too often", len(w))
			}
		})
	}
}

// A guest kicks, and another sender was faster to take what it gave: the device
// asks for the next kick.
func TestRXAsksAgain(t *testing.T) {
	for range 100 {
		if asksAgain(t) {
			return
		}
	}
	t.Error("who waits is always woken before the other sender takes the buffer")
}

// asksAgain says whether it came to that: the device's goroutine, which asks when it begins, may
// see the buffer before the other sender takes it, and wake who waits.
func asksAgain(t *testing.T) bool {
	g := newGuest(t, features).start()
	w := newWaker()
	if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
		t.Fatal("taken without a buffer")
	}
	g.buffer(packet.HeaderSize, 0)
	g.rx.Publish()
	if _, ok := g.device.Take(toGuest(packet.OpRequest), w); !ok {
		t.Fatal("refused, though there is room")
	}
	_ = g.rx.kick.Signal()
	_, _, used, _ := virtqueue.Layout(ringSize)
	availEvent, _ := guestmem.WordAt(g.bytes(rxRingAddr+used+4+8*ringSize, 4), 0)
	for limit := time.Now().Add(waitLimit); availEvent.Load() != 1; runtime.Gosched() {
		if len(w) > 0 {
			return false
		}
		if time.Now().After(limit) {
			t.Fatalf("avail_event is %d, and the next kick would be for 1", availEvent.Load())
		}
	}
	g.buffers(1, packet.HeaderSize)
	receive(t, w, "room")
	return true
}

// Of a payload that finds room for a part only, that part goes.
func TestRXTakesPart(t *testing.T) {
	g := newGuest(t, features).start()
	g.buffers(2, packet.HeaderSize+100)
	data, w := pattern(250), newWaker()
	p := toGuest(packet.OpRW, data)
	p.Flags = 1
	n, ok := g.device.Take(p, w)
	if ok || n != 200 {
		t.Fatalf("Take: %d, %v; want 200 and no", n, ok)
	}
	for i := range 2 {
		if h, payload := g.arrived(); h.Flags != 0 || string(payload) != string(data[100*i:][:100]) {
			t.Errorf("part %d: %v", i, &h)
		}
	}
	g.buffers(1, packet.HeaderSize+100)
	receive(t, w, "room")
	rest := toGuest(packet.OpRW, data[n:])
	rest.Flags = 1
	if n, ok := g.device.Take(rest, w); !ok || n != 50 {
		t.Fatalf("the rest: %d, %v", n, ok)
	}
	if h, payload := g.arrived(); h.Flags != 1 || string(payload) != string(data[200:]) {
		t.Errorf("the rest: %v", &h)
	}
}

// Many senders that wait for one buffer at a time all get their turn.
func TestRXManyWaiters(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			const senders, each = 16, 40
			done := make(chan struct{}, senders)
			for range senders {
				go func() {
					defer func() { done <- struct{}{} }()
					w := newWaker()
					for range each {
						for {
							if _, ok := g.device.Take(toGuest(packet.OpCreditUpdate), w); ok {
								break
							}
							<-w
						}
					}
				}()
			}
			for range senders * each {
				g.buffers(1, packet.HeaderSize)
				g.arrived()
			}
			for range senders {
				receive(t, done, "a sender")
			}
		})
	}
}

// Nothing but loops in the RX ring: the sender does not go through all of them,
// nor does it wait for a kick that need not come.
func TestRXNothingButLoops(t *testing.T) {
	g := newGuest(t, features).start()
	desc := g.bytes(rxRingAddr, 16*ringSize)
	for range 32 {
		g.buffer(packet.HeaderSize, 0)
	}
	for i := range 32 {
		d := desc[16*i:]
		d[12], d[13], d[14], d[15] = 2|1, 0, byte(i), 0 // write, next: itself
	}
	g.rx.publish()
	if _, ok := g.device.Take(toGuest(packet.OpRequest), newWaker()); !ok {
		t.Error("the sender is made to wait")
	}
	if err := receive(t, g.failed, "the end of the session"); !errors.Is(err, errNoBuffers) {
		t.Errorf("the session ends with %v", err)
	}
}

// A few chains that are bad are passed over.
func TestRXPassesOverBadChains(t *testing.T) {
	g := newGuest(t, features).start()
	for range 100 {
		if _, ok := g.rx.Add(nil, []virtqueue.Buffer{{Addr: 8, Len: 4096}}); !ok {
			t.Fatal("not added")
		}
	}
	w := newWaker()
	g.rx.publish()
	if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
		t.Error("taken, with no good buffer there")
	}
	for range 100 {
		if _, written := g.used(&g.rx); written != 0 {
			t.Errorf("%d bytes written to a bad chain", written)
		}
	}
	g.buffers(1, packet.HeaderSize)
	receive(t, w, "room")
	if _, ok := g.device.Take(toGuest(packet.OpRequest), w); !ok {
		t.Error("refused, though there is room")
	}
	g.arrived()
	g.intact()
}
