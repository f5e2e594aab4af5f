package device

import (
	"runtime"
	"testing"
	"time"

	"vsockets.dev/internal/packet"
)

// rst is a packet that nobody sends again.
func rst(port uint32) *packet.Packet {
	p := toGuest(packet.OpReset)
	p.SrcPort = port
	return p
}

// Replies wait for room, in their order, and go before what comes later. There is
// an end to them.
func TestRepliesWait(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			for i := range uint32(maxReplies + 10) {
				if _, ok := g.device.Take(rst(i), nil); !ok {
					t.Fatal("a reply is refused, and nobody will try again")
				}
			}
			if n := g.device.dropped.Load(); n != 10 {
				t.Errorf("%d replies dropped, want 10", n)
			}
			w := newWaker()
			g.buffers(3, packet.HeaderSize)
			for i := range uint32(3) {
				if h, _ := g.arrived(); h.SrcPort != i {
					t.Errorf("reply %d arrives as number %d", h.SrcPort, i)
				}
			}
			if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
				t.Error("a packet overtakes the replies")
			}
			for next := uint32(3); next < maxReplies; {
				g.buffers(50, packet.HeaderSize)
				for range 50 {
					if next == maxReplies {
						break
					}
					if h, _ := g.arrived(); h.SrcPort != next {
						t.Fatalf("reply %d arrives as number %d", h.SrcPort, next)
					}
					next++
				}
			}
			receive(t, w, "room")
			if _, ok := g.device.Take(toGuest(packet.OpRequest), w); !ok {
				t.Error("refused, with room and no more replies")
			}
			if h, _ := g.arrived(); h.Op != packet.OpRequest {
				t.Errorf("%v arrives", &h)
			}
		})
	}
}

// A payload that nobody sends again is not kept, and not made up later.
func TestRepliesHaveNoPayload(t *testing.T) {
	g := newGuest(t, features).start()
	if n, ok := g.device.Take(toGuest(packet.OpRW, pattern(100)), nil); !ok || n != 100 {
		t.Errorf("Take: %d, %v", n, ok)
	}
	if n := g.device.dropped.Load(); n != 1 {
		t.Errorf("%d packets dropped, want 1", n)
	}
	g.buffers(1, 4096)
	if _, ok := g.device.Take(rst(1), nil); !ok {
		t.Fatal("refused")
	}
	if h, _ := g.arrived(); h.Op != packet.OpReset {
		t.Errorf("%v arrives", &h)
	}
}

// answered makes a guest whose every packet is answered with RST.
func answered(t *testing.T, features uint64) *guest {
	g := newGuest(t, features).start()
	g.out.answerWith(func(p *packet.Packet) {
		r := packet.Packet{Header: p.Reply(packet.OpReset)}
		g.device.Take(&r, nil)
	})
	return g
}

// fillReplies has the guest send until TX rests, and a few packets more.
func (g *guest) fillReplies(more int) {
	g.t.Helper()
	h := rwHeader(0)
	for range maxReplies + more {
		for g.tx.Free() == 0 {
			g.used(&g.tx)
		}
		g.send(h.Append(nil))
	}
	for range maxReplies {
		g.out.next(g.t)
	}
	// TX rests at exactly as many, and keeps to it.
	for limit := time.Now().Add(waitLimit); !g.device.resting.Load(); runtime.Gosched() {
		if time.Now().After(limit) {
			g.t.Fatal("TX does not rest")
		}
	}
	if n := len(g.out.got); n != 0 {
		g.t.Errorf("with %d replies that wait, %d packets more were taken", maxReplies, n)
	}
	if n := g.device.dropped.Load(); n != 0 {
		g.t.Errorf("%d replies dropped", n)
	}
}

// With as many replies as can be kept, TX rests. However room comes about, it goes
// on, without a further kick.
func TestTXRestsAtMaxReplies(t *testing.T) {
	for name, makeRoom := range map[string]func(g *guest){
		"the guest gives buffers": func(g *guest) {
			g.buffers(20, packet.HeaderSize)
		},
		"a sender is faster than the kick": func(g *guest) {
			for range 20 {
				g.buffer(packet.HeaderSize, 0)
			}
			g.rx.Publish() // and no kick
			w := newWaker()
			if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
				g.t.Error("a packet overtakes the replies")
			}
		},
		"the guest stops and starts RX": func(g *guest) {
			base, err := g.device.StopQueue(rxQueue)
			must(g.t, err)
			g.startQueue(rxQueue, base)
			must(g.t, g.device.EnableQueue(rxQueue, true))
		},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				g := answered(t, features)
				const more = 15
				g.fillReplies(more)
				makeRoom(g)
				for range more {
					g.out.next(t)
				}
			})
		}
	}
}

// Time and again, with room for one reply at a time.
func TestTXRestsAndGoesOn(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := answered(t, features)
			g.fillReplies(0)
			h := rwHeader(0)
			for range 500 {
				for g.tx.Free() == 0 {
					g.used(&g.tx)
				}
				g.send(h.Append(nil))
				g.buffers(1, packet.HeaderSize)
				g.arrived()
				g.out.next(t)
			}
		})
	}
}

// What one queue does leaves the other's notifications alone: RX gets room, and
// then the guest sends, with a kick if it is asked for one.
func TestRoomInRXLeavesTXKicks(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			w := newWaker()
			h := rwHeader(0)
			for range 500 {
				if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
					t.Fatal("taken without a buffer")
				}
				g.buffers(1, packet.HeaderSize)
				receive(t, w, "room")
				if _, ok := g.device.Take(toGuest(packet.OpRequest), w); !ok {
					t.Fatal("refused, though there is room")
				}
				g.arrived()
				g.send(h.Append(nil))
				g.out.next(t)
				g.used(&g.tx)
			}
		})
	}
}
