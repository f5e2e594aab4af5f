//go:build !race

// The race detector's runtime does not survive the faults that these tests make, so
// make test runs them without it.

package device

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// Where a guest's file may end, of all of memSize.
const (
	nothingLeft = 0
	ringsLeft   = txArea - memBase
)

// truncate takes the memory away.
func (g *guest) truncate(size int64) {
	g.t.Helper()
	must(g.t, g.file.Truncate(size))
}

// whileQuiet does something while the device does not look at the rings.
func (g *guest) whileQuiet(f func()) {
	for _, q := range []*queue{&g.device.tx, &g.device.rx} { // in the order of Device
		q.mu.Lock()
		defer q.mu.Unlock()
	}
	f()
}

// checkGone checks that a guest whose memory went is out, and that nothing is stuck.
func (g *guest) checkGone() {
	g.t.Helper()
	if err := receive(g.t, g.failed, "the end of the session"); !errors.Is(err, guestmem.ErrFault) {
		g.t.Errorf("the session ends with %v", err)
	}
	g.stop()
	for len(g.out.got) > 0 {
		<-g.out.got
	}
	if _, ok := g.device.Take(toGuest(packet.OpRequest), newWaker()); !ok {
		g.t.Error("a sender is made to wait for a guest that is gone")
	}
	if r := g.out.next(g.t); r.Op != packet.OpReset {
		g.t.Errorf("the answer is %v", &r.Header)
	}
}

// checkAlive checks that packets go both ways.
func (g *guest) checkAlive() {
	g.t.Helper()
	h := rwHeader(3)
	g.send(h.Append(nil), []byte("yes"))
	if r := g.out.next(g.t); r.Payload != "yes" {
		g.t.Errorf("payload %q arrives", r.Payload)
	}
	g.used(&g.tx)
	g.buffers(1, 4096)
	if _, ok := g.device.Take(toGuest(packet.OpRW, []byte("yes")), newWaker()); !ok {
		g.t.Error("refused, though there is room")
	}
	if _, b := g.arrived(); string(b) != "yes" {
		g.t.Errorf("payload %q arrives in the guest", b)
	}
	g.intact()
}

// memoryTaken has a guest take its memory away, all of it or all but the rings, while what
// do does with it. It is out, and another goes on.
func memoryTaken(t *testing.T, modes map[string]uint64, do func(t *testing.T, g *guest, left int64)) {
	for name, left := range map[string]int64{"all": nothingLeft, "all but the rings": ringsLeft} {
		for mode, features := range modes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				other := newGuest(t, features).start()
				g := newFickleGuest(t, features).start()
				do(t, g, left)
				g.checkGone()
				other.checkAlive()
			})
		}
	}
}

// A guest takes its memory away under what it sends.
func TestMemoryTakenUnderTX(t *testing.T) {
	memoryTaken(t, eventModes, func(t *testing.T, g *guest, left int64) {
		h := rwHeader(100)
		g.whileQuiet(func() {
			if _, ok := g.tx.Add(g.place(txArea, h.Append(nil), pattern(100)), nil); !ok {
				t.Error("not added")
			}
			g.tx.Publish()
			g.truncate(left)
		})
		_ = g.tx.kick.Signal()
	})
}

// The same, in the goroutine of a program that sends to the guest.
func TestMemoryTakenUnderRX(t *testing.T) {
	memoryTaken(t, eventModes, func(t *testing.T, g *guest, left int64) {
		g.buffers(2, 4096)
		g.truncate(left)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				p := toGuest(packet.OpRW, pattern(100))
				if n, ok := g.device.Take(p, newWaker()); !ok || n != 100 {
					t.Errorf("Take: %d, %v", n, ok)
				}
			})
		}
		wg.Wait()
	})
}

// The same, of one that adds to a packet: there is no other buffer in the rings.
func TestMemoryTakenUnderGrowth(t *testing.T) {
	memoryTaken(t, growModes, func(t *testing.T, g *guest, left int64) {
		g.buffers(1, 4096)
		g.give(toGuest(packet.OpRW, []byte("a")))
		g.truncate(left)
		if n, ok := g.device.Take(toGuest(packet.OpRW, []byte("b")), newWaker()); n != 1 || !ok {
			t.Errorf("Take: %d, %v", n, ok)
		}
	})
}

// The same, when the guest kicks for those who wait.
func TestMemoryTakenUnderWaiters(t *testing.T) {
	g := newFickleGuest(t, features).start()
	w := newWaker()
	if _, ok := g.device.Take(toGuest(packet.OpRequest), w); ok {
		t.Fatal("taken without a buffer")
	}
	if _, ok := g.device.Take(rst(1), nil); !ok {
		t.Fatal("RST refused")
	}
	g.truncate(nothingLeft)
	_ = g.rx.kick.Signal()
	g.checkGone()
	receive(t, w, "the end")
}

// The same, when the session changes something.
func TestMemoryTakenUnderSession(t *testing.T) {
	for name, f := range map[string]func(g *guest) error{
		"SetMemory":    func(g *guest) error { return g.device.SetMemory(g.mapped) },
		"EnableQueue":  func(g *guest) error { return g.device.EnableQueue(txQueue, true) },
		"DisableQueue": func(g *guest) error { return g.device.EnableQueue(txQueue, false) },
		"SetCall":      func(g *guest) error { return g.device.SetCall(txQueue, &g.tx.call.Bell) },
		"StopQueue":    func(g *guest) error { _, err := g.device.StopQueue(rxQueue); return err },
		"StartQueue": func(g *guest) error {
			_, err := g.device.StopQueue(rxQueue)
			g.startQueue(rxQueue, 0)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFickleGuest(t, features).start()
			g.truncate(nothingLeft)
			if err := f(g); err != nil {
				t.Error(err)
			}
			g.stop()
		})
	}
}

// In the midst of everything: all that is under way ends, and the guest is out.
func TestMemoryTakenInTheMidst(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newFickleGuest(t, features).start()
			g.out.answerWith(func(p *packet.Packet) {
				for range p.Payload {
					r := packet.Packet{Header: p.Reply(packet.OpReset)}
					g.device.Take(&r, nil)
				}
			})
			var wg sync.WaitGroup
			stop := make(chan struct{})
			for range 4 {
				wg.Go(func() {
					w := newWaker()
					for {
						select {
						case <-stop:
							return
						default:
						}
						if _, ok := g.device.Take(toGuest(packet.OpRW, pattern(1000)), w); ok {
							continue
						}
						select {
						case <-w:
						case <-stop:
							return
						}
					}
				})
			}
			wg.Go(func() { // the guest
				var err error
				defer func() {
					if !errors.Is(err, guestmem.ErrFault) {
						t.Errorf("the guest itself ends with %v", err)
					}
				}()
				defer g.mem.Catch(guestmem.Arm(), &err)
				h := rwHeader(1000)
				for i := 0; ; i++ {
					for range g.tx.Free() / 2 {
						g.tx.Add(g.place(txArea, h.Append(nil), pattern(1000)), nil)
					}
					g.tx.publish()
					for g.rx.Free() > 0 {
						g.rx.Add(nil, []virtqueue.Buffer{{Addr: rxArea + uint64(i%1000)*100, Len: 1044}})
					}
					g.rx.publish()
					for _, e := range []*end{&g.rx, &g.tx} {
						for {
							if _, _, ok, _ := e.Used(); !ok {
								break
							}
						}
					}
				}
			})
			for range 100 {
				g.out.next(t)
			}
			g.truncate(nothingLeft)
			_, _ = g.tx.kick.Signal(), g.rx.kick.Signal() // all may sleep just now
			if err := receive(t, g.failed, "the end of the session"); !errors.Is(err, guestmem.ErrFault) {
				t.Errorf("the session ends with %v", err)
			}
			g.stop()
			close(stop)
			wg.Wait()
		})
	}
}

// A packet's payload may lie in memory that somebody else takes away. That is not
// the guest's fault, who loses nothing by it, not even a buffer.
func TestSendersMemoryTaken(t *testing.T) {
	g := newGuest(t, plainFeatures).start()
	fd, err := unix.MemfdCreate("device-test", unix.MFD_CLOEXEC)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	must(t, unix.Ftruncate(fd, 4096))
	senders, err := guestmem.Map([]guestmem.Region{{Size: 4096}}, []int{fd})
	must(t, err)
	defer func() { _ = senders.Unmap() }()
	payload, _ := senders.Slice(0, 4096)
	must(t, unix.Ftruncate(fd, 0))

	g.buffers(8, 1000)
	for range 100 {
		err := func() (err error) {
			defer senders.Catch(guestmem.Arm(), &err)
			g.device.Take(toGuest(packet.OpRW, payload), newWaker())
			return nil
		}()
		if !errors.Is(err, guestmem.ErrFault) {
			t.Fatalf("the sender gets %v, and does not learn of it", err)
		}
	}
	g.intact()
	for range 8 {
		if _, ok := g.device.Take(toGuest(packet.OpRW, []byte("yes")), newWaker()); !ok {
			t.Fatal("a buffer is lost")
		}
		if _, b := g.arrived(); string(b) != "yes" {
			t.Errorf("payload %q arrives", b)
		}
	}
	g.checkAlive()
}

// After a guest whose memory went comes another, on the same device. It must not
// be shown what was being sent then.
func TestGuestAfterFault(t *testing.T) {
	gone := newFickleGuest(t, features).start()
	h := rwHeader(100)
	if _, ok := gone.tx.Add(gone.place(txArea, h.Append(nil), pattern(100)), nil); !ok {
		t.Fatal("not added")
	}
	gone.tx.Publish()
	// The header is read, and then the payload is not there.
	page := make([]byte, 4096)
	addr := uint64(memBase + 2<<20)
	copy(page[4096-packet.HeaderSize:], h.Append(nil))
	copy(gone.bytes(addr-4096, 4096), page)
	if _, ok := gone.tx.Add([]virtqueue.Buffer{{Addr: addr - packet.HeaderSize, Len: packet.HeaderSize + 100}}, nil); !ok {
		t.Fatal("not added")
	}
	must(t, gone.device.EnableQueue(txQueue, false))
	gone.tx.Publish()
	gone.truncate(int64(addr - memBase))
	must(t, gone.device.EnableQueue(txQueue, true))
	gone.checkGone()

	g := newGuest(t, features)
	g.device, g.out, g.failed, g.downs = gone.device, gone.out, gone.failed, gone.downs
	g.start()
	h = rwHeader(0)
	g.send(h.Append(nil))
	if r := g.out.next(t); r.Payload != "" {
		t.Errorf("a packet without payload brings %d bytes of the guest before", len(r.Payload))
	}
	g.checkAlive()
	g.stop()
}

// The new memory may be taken away as well.
func TestReplacedMemoryTaken(t *testing.T) {
	g := newFickleGuest(t, features).start()
	old := g.mapped
	g.mapped = g.mapAgain()
	must(t, g.device.SetMemory(g.mapped))
	must(t, old.Unmap())
	g.truncate(nothingLeft)
	_ = g.tx.kick.Signal()
	g.device.Take(toGuest(packet.OpRequest), newWaker())
	g.checkGone()
}

// What is added to a packet lies in the memory of another, who takes that away. It is not
// the receiver's fault.
func TestMemoryOfAnotherTakenUnderGrowth(t *testing.T) {
	g := newGuest(t, features).start()
	g.buffers(4, 4096)
	g.give(toGuest(packet.OpRW, []byte("a")))
	thief := newFickleGuest(t, features)
	stolen := thief.bytes(txArea, 4096)
	thief.truncate(nothingLeft)
	var err error
	func() {
		defer thief.mem.Catch(guestmem.Arm(), &err)
		g.device.Take(toGuest(packet.OpRW, stolen[:10]), newWaker())
	}()
	if !errors.Is(err, guestmem.ErrFault) {
		t.Fatalf("error %v", err)
	}
	g.give(toGuest(packet.OpRW, []byte("b")))
	g.used(&g.rx)
	if got := g.taken(g.bytes(rxArea, 4096)); got != "ab" {
		t.Errorf("%q arrives", got)
	}
	g.intact()
}
