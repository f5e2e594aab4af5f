package device

import (
	"encoding/binary"
	"sync"
	"testing"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/packet"
)

func TestFeatures(t *testing.T) {
	d := New(Config{CID: guestCID})
	if err := d.SetFeatures(featureVersion1 | featureStream); err != nil {
		t.Error(err)
	}
	if err := d.SetFeatures(d.Features() | 1<<5); err == nil {
		t.Error("a feature that was not offered is taken")
	}
	if got := binary.LittleEndian.Uint64(d.Config()); got != guestCID {
		t.Errorf("guest_cid is %d", got)
	}
}

// A packet for a guest that is not there is refused, for its sender to know, and
// nobody waits for anything.
func TestAbsentGuest(t *testing.T) {
	for name, absent := range map[string]func(g *guest){
		"never there": func(*guest) {},
		"not enabled": func(g *guest) {
			must(g.t, g.device.SetMemory(g.mapped))
			g.startQueue(rxQueue, 0)
		},
		"disabled": func(g *guest) {
			g.start()
			must(g.t, g.device.EnableQueue(rxQueue, false))
		},
		"stopped": func(g *guest) {
			g.start()
			_, err := g.device.StopQueue(rxQueue)
			must(g.t, err)
		},
		"here again, not enabled yet": func(g *guest) {
			g.start().stop()
			g.startQueue(rxQueue, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, features)
			absent(g)
			g.buffers(1, 4096)
			w := newWaker()
			p := toGuest(packet.OpRW, pattern(100))
			if n, ok := g.device.Take(p, w); !ok || n != 100 {
				t.Errorf("Take: %d, %v", n, ok)
			}
			want := record{Header: p.Reply(packet.OpReset)}
			if got := g.out.next(t); got != want {
				t.Errorf("the answer is %v, want %v", &got.Header, &want.Header)
			}
			if _, ok := g.device.Take(toGuest(packet.OpReset), nil); !ok {
				t.Error("RST refused")
			}
			if len(g.out.got) != 0 {
				t.Error("RST is answered")
			}
			if _, _, ok, _ := g.rx.Used(); ok {
				t.Error("an absent guest is given something")
			}
		})
	}
}

// TX is idle until it is enabled, and then takes what there is, without a kick.
func TestTXWaitsForEnable(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			h := rwHeader(0)
			for range 200 {
				must(t, g.device.EnableQueue(txQueue, false))
				g.send(h.Append(nil))
				g.device.resumeTX()
				if len(g.out.got) != 0 {
					t.Fatal("something comes from a queue that is disabled")
				}
				must(t, g.device.EnableQueue(txQueue, true))
				g.out.next(t)
				g.used(&g.tx)
			}
		})
	}
}

// When a guest stops, those who wait for it are woken, and find it absent.
func TestStopWakes(t *testing.T) {
	for name, stop := range map[string]func(g *guest){
		"stopped":    func(g *guest) { g.stop() },
		"disabled":   func(g *guest) { must(g.t, g.device.EnableQueue(rxQueue, false)) },
		"TX stopped": func(g *guest) { _, err := g.device.StopQueue(txQueue); must(g.t, err) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, features).start()
			w := newWaker()
			if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
				t.Fatal("taken without a buffer")
			}
			if _, ok := g.device.Take(rst(1), nil); !ok {
				t.Fatal("RST refused")
			}
			stop(g)
			receive(t, w, "the end")
			receive(t, g.downs, "the guest to be down")
			g.device.rx.mu.Lock()
			defer g.device.rx.mu.Unlock()
			if n := g.device.replies.Len(); n != 0 {
				t.Errorf("%d replies are kept for the next to come", n)
			}
		})
	}
}

// A queue that is stopped goes on where it was, and across the wrap of its index.
func TestRestart(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features)
			base := map[int]uint16{rxQueue: 65530, txQueue: 65533}
			g.rx.Driver = g.newRing(rxRingAddr, base[rxQueue])
			g.tx.Driver = g.newRing(txRingAddr, base[txQueue])
			h := rwHeader(0)
			for round := range 10 {
				must(t, g.device.SetFeatures(g.features))
				must(t, g.device.SetMemory(g.mapped))
				for i := range eventQueue {
					g.startQueue(i, base[i])
					must(t, g.device.EnableQueue(i, true))
				}
				w := newWaker()
				for range 3 {
					g.send(h.Append(nil))
					g.out.next(t)
					g.used(&g.tx)
					if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
						t.Fatal("taken without a buffer")
					}
					g.buffers(1, 100)
					receive(t, w, "room")
					if _, ok := g.device.Take(toGuest(packet.OpRequest), w); !ok {
						t.Fatal("refused, though there is room")
					}
					g.arrived()
				}
				for i := range eventQueue {
					got, err := g.device.StopQueue(i)
					must(t, err)
					if want := base[i] + 3; got != want {
						t.Fatalf("round %d: queue %d stopped at %d, want %d", round, i, got, want)
					}
					base[i] = got
				}
			}
			g.intact()
		})
	}
}

func TestStartRefuses(t *testing.T) {
	g := newGuest(t, features).start()
	if err := g.device.StartQueue(rxQueue, configAt(&g.rx)); err == nil {
		t.Error("a queue that runs is started")
	}
	g.stop()
	c := configAt(&g.rx)
	c.Avail = memBase - 4096
	if err := g.device.StartQueue(rxQueue, c); err == nil {
		t.Error("a ring outside of the memory is taken")
	}
	if base, err := g.device.StopQueue(rxQueue); err != nil || base != 0 {
		t.Errorf("stopping what does not run: %d, %v", base, err)
	}
}

// The event queue may be there or not.
func TestEventQueue(t *testing.T) {
	g := newGuest(t, features).start()
	must(t, g.device.StartQueue(eventQueue, configAt(&g.rx)))
	must(t, g.device.EnableQueue(eventQueue, true))
	must(t, g.device.SetCall(eventQueue, nil))
	must(t, g.device.EnableQueue(eventQueue, false))
	if _, err := g.device.StopQueue(eventQueue); err != nil {
		t.Error(err)
	}
	if len(g.downs) != 0 {
		t.Error("the guest is down for want of an event queue")
	}
}

// A guest may poll: without a call, none is signalled. One that comes later is.
func TestSetCall(t *testing.T) {
	g := newGuest(t, features).start()
	must(t, g.device.SetCall(txQueue, nil))
	h := rwHeader(0)
	g.tx.EnableNotify()
	g.send(h.Append(nil))
	g.out.next(t)
	for { // polls
		if _, _, ok, err := g.tx.Used(); err != nil {
			t.Fatal(err)
		} else if ok {
			break
		}
	}
	call, err := eventfd.New()
	must(t, err)
	defer call.Close()
	must(t, g.device.SetCall(txQueue, &call.Bell))
	old := g.tx.call
	g.tx.call = call
	g.send(h.Append(nil))
	g.used(&g.tx)
	must(t, g.device.SetCall(txQueue, &old.Bell))
	g.tx.call = old
}

// The memory table changes while packets go both ways: all arrive, in order, and
// nothing touches the memory that was before, which is unmapped.
func TestMemoryReplaced(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			const packets, changes = 4000, 100
			var wg sync.WaitGroup
			wg.Go(func() { // the host sends
				w := newWaker()
				for i := range uint32(packets) {
					p := toGuest(packet.OpRW, pattern(100))
					p.FwdCnt = i
					for {
						if _, ok := g.device.Take(p, w); ok {
							break
						}
						<-w
					}
				}
			})
			change := make(chan struct{}, changes)
			for range changes {
				change <- struct{}{}
			}
			sent := 0
			for i := range uint32(packets) {
				select {
				case <-change:
					old := g.mapped
					next := g.mapAgain()
					must(t, g.device.SetMemory(next))
					g.mapped = next
					must(t, old.Unmap())
				default:
				}
				for g.tx.Free() == 0 {
					g.used(&g.tx)
				}
				h := rwHeader(0)
				h.FwdCnt = i
				at := txArea + uint64(i%ringSize)*64
				if _, ok := g.tx.Add(g.place(at, h.Append(nil)), nil); !ok {
					t.Fatal("not added")
				}
				g.tx.publish()
				sent++
				g.buffers(1, 4096)
				if h, b := g.arrived(); h.FwdCnt != i || string(b) != string(pattern(100)) {
					t.Fatalf("packet %d arrives as number %d, with %d bytes", h.FwdCnt, i, len(b))
				}
			}
			wg.Wait()
			for i := range sent {
				if r := g.out.next(t); r.FwdCnt != uint32(i) {
					t.Fatalf("packet %d arrives as number %d", r.FwdCnt, i)
				}
			}
			g.intact()
		})
	}
}

// A change of memory leaves it as it was who asked for a kick.
func TestMemoryReplacedUnderWaiter(t *testing.T) {
	g := newGuest(t, features&^featureEventIdx).start()
	w := newWaker()
	take := func(w waker, want bool) {
		t.Helper()
		if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok != want {
			t.Fatalf("taken: %v, want %v", ok, want)
		}
	}
	for range 50 { // the queue's goroutine may be slow to sleep, and then is of help
		take(w, false)
		old := g.mapped
		g.mapped = g.mapAgain()
		must(t, g.device.SetMemory(g.mapped))
		must(t, old.Unmap())

		// Another sender gets the first buffer, and does not switch kicks off thereby.
		g.buffer(100, 0)
		g.rx.Publish()
		take(nil, true)
		g.arrived()
		g.buffers(1, 100)
		receive(t, w, "room")
		take(w, true)
		g.arrived()
	}
}

// A table in which a queue has no place ends the session; the queues then stop.
func TestMemoryWithoutQueues(t *testing.T) {
	g := newGuest(t, features).start()
	small := g.region
	small.Size = 4096
	g.region = small
	m := g.mapAgain()
	if err := g.device.SetMemory(m); err == nil {
		t.Error("accepted")
	}
	g.stop()
	must(t, m.Unmap())
}
