package device

import (
	"testing"

	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// growModes are the two ways of notifications, with packets that grow.
var growModes = map[string]uint64{"EVENT_IDX": features, "flags": features &^ featureEventIdx}

// taken is what the guest takes of a packet that has arrived, as a driver of ours does it.
func (g *guest) taken(b []byte) string {
	g.t.Helper()
	n, ok := grow.TakeLength(b)
	if !ok || int(n) > len(b)-packet.HeaderSize {
		g.t.Fatalf("a packet of %d bytes in a buffer of %d", n, len(b))
	}
	return string(b[packet.HeaderSize:][:n])
}

// give sends to the guest, which must be possible.
func (g *guest) give(p *packet.Packet) {
	g.t.Helper()
	if n, ok := g.device.Take(p, newWaker()); n != int(p.Len) || !ok {
		g.t.Fatalf("Take: %d, %v", n, ok)
	}
}

// TestRXGrows has small packets of a stream be merged in the ring until the guest takes them.
func TestRXGrows(t *testing.T) {
	const size = 4096
	other := func(s string) *packet.Packet {
		p := toGuest(packet.OpRW, []byte(s))
		p.SrcPort++
		return p
	}
	mine := func(s string) *packet.Packet { return toGuest(packet.OpRW, []byte(s)) }
	for name, tc := range map[string]struct {
		do   func(g *guest, first []byte)
		want []string // the payloads that arrive
	}{
		"one stream": {func(g *guest, _ []byte) {
			g.give(mine("b"))
			g.give(mine("c"))
		}, []string{"abc"}},
		"taken between": {func(g *guest, first []byte) {
			g.give(mine("b"))
			if got := g.taken(first); got != "ab" {
				g.t.Errorf("%q is taken", got)
			}
			g.give(mine("c"))
			g.give(mine("d"))
		}, []string{"", "cd"}},
		"another stream between": {func(g *guest, _ []byte) {
			g.give(other("x"))
			g.give(mine("b"))
		}, []string{"a", "x", "b"}},
		"a control packet between": {func(g *guest, _ []byte) {
			g.give(toGuest(packet.OpCreditRequest))
			g.give(mine("b"))
		}, []string{"a", "", "b"}},
		"no room": {func(g *guest, _ []byte) {
			g.give(mine(string(pattern(size - packet.HeaderSize - 1))))
			g.give(mine("b"))
		}, []string{"a" + string(pattern(size-packet.HeaderSize-1)), "b"}},
		"the memory moves": {func(g *guest, _ []byte) {
			old := g.mapped
			g.mapped = g.mapAgain()
			must(g.t, g.device.SetMemory(g.mapped))
			must(g.t, old.Unmap())
			g.give(mine("b"))
		}, []string{"a", "b"}},
		"the guest scribbles": {func(g *guest, first []byte) {
			grow.ReturnLength(first, 1<<30)
			g.give(mine("b"))
			grow.ReturnLength(first, 1)
		}, []string{"a", "b"}},
	} {
		for mode, features := range growModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				g := newGuest(t, features).start()
				for range 4 {
					g.buffer(size, 0)
				}
				g.rx.publish()
				g.give(mine("a"))
				tc.do(g, g.bytes(rxArea, size))
				for i, want := range tc.want {
					g.used(&g.rx)
					b := g.bytes(rxArea+uint64(i)*16<<10, size)
					if want == "" { // it was taken before
						continue
					}
					if got := g.taken(b); got != want {
						t.Errorf("packet %d: %d bytes arrive, want %d", i, len(got), len(want))
					}
				}
				if g.rx.HasUsed() {
					t.Error("more arrives")
				}
				if _, to := g.device.Traffic(); name == "one stream" && to != (Traffic{Packets: 1, Bytes: 3}) {
					t.Errorf("counted are %+v", to)
				}
				g.intact()
			})
		}
	}
}

// TestRXGrowsNot has a guest that does not know of it.
func TestRXGrowsNot(t *testing.T) {
	g := newGuest(t, plainFeatures).start()
	g.buffers(2, 4096)
	for _, s := range []string{"a", "b"} {
		g.give(toGuest(packet.OpRW, []byte(s)))
	}
	for _, want := range []string{"a", "b"} {
		if _, got := g.arrived(); string(got) != want {
			t.Errorf("%q arrives, want %q", got, want)
		}
	}
}

// growing puts a packet where the guest can add to it, and gives the way to do so.
func (g *guest) growing(payload string) (head uint16, tail *grow.Tail) {
	g.t.Helper()
	const size = 4096
	h := rwHeader(len(payload))
	b := g.bytes(txArea, size)
	copy(b, append(h.Append(nil), payload...))
	tail = new(grow.Tail)
	tail.Set(&h, b)
	head, ok := g.tx.Add([]virtqueue.Buffer{{Addr: txArea, Len: size}}, nil)
	if !ok {
		g.t.Fatal("the ring is full")
	}
	g.tx.publish()
	return head, tail
}

// more is what the guest adds.
func more(payload string) *packet.Packet {
	return &packet.Packet{Header: rwHeader(len(payload)), Payload: [][]byte{[]byte(payload)}}
}

// choosy is a Sink that has no room for the first packets.
type choosy struct {
	*sink
	refuse  int
	refused chan packet.Waker
}

func (s *choosy) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	if s.refuse > 0 {
		s.refuse--
		s.refused <- w
		return 0, false
	}
	return s.sink.Take(p, w)
}

// TestTXGrows has a guest add to a packet for which there was no room.
func TestTXGrows(t *testing.T) {
	for mode, features := range growModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features)
			out := &choosy{g.out, 1, make(chan packet.Waker, 1)}
			g.device.out = out
			g.start()
			head, tail := g.growing("a")
			w := receive(t, out.refused, "the first packet")
			g.device.Started() // returns when the packet has been given back
			if !tail.Add(more("b")) {
				t.Error("nothing can be added to a packet that waits")
			}
			w.Wake()
			if r := g.out.next(t); r.Payload != "ab" || r.Len != 2 {
				t.Errorf("%v arrives with %q", &r.Header, r.Payload)
			}
			if tail.Add(more("c")) {
				t.Error("something can be added to a packet that was taken")
			}
			if used, _ := g.used(&g.tx); used != head {
				t.Errorf("chain %d comes back", used)
			}
			if n := g.device.badPackets.Load(); n != 0 {
				t.Errorf("%d bad packets", n)
			}
		})
	}
}

// TestTXTakenTwice has a guest send a packet again that was taken, as it is.
func TestTXTakenTwice(t *testing.T) {
	g := newGuest(t, features).start()
	g.growing("a")
	g.out.next(t)
	g.used(&g.tx)
	if _, ok := g.tx.Add([]virtqueue.Buffer{{Addr: txArea, Len: 4096}}, nil); !ok {
		t.Fatal("the ring is full")
	}
	g.tx.publish()
	g.used(&g.tx)
	if n := g.device.badPackets.Load(); n != 1 {
		t.Errorf("%d bad packets", n)
	}
}
