package vswitch

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/packet"
)

// numbers are data packets of a guest to another, which sends them until it is told to stop.
// They have numbers, and are of a size.
type numbers struct {
	from, to *fakeGuest
	size     int
	sent     int
	waited   time.Duration // in all, being held back
}

// next sends one, and waits where it is held back.
func (s *numbers) next() {
	payload := fmt.Sprintf("%0*d", s.size, s.sent)
	p := &packet.Packet{Header: packet.Header{
		SrcCID: uint64(s.from.port.cid.Load()), DstCID: uint64(s.to.port.cid.Load()), SrcPort: 1000, DstPort: 80,
		Type: packet.TypeStream, Op: packet.OpRW, Len: uint32(s.size), BufAlloc: 1 << 18,
	}, Payload: [][]byte{[]byte(payload)}}
	begun := time.Now()
	s.from.sendAll(p)
	s.waited += time.Since(begun)
	s.sent++
}

// came checks that what has come to the receiver is all of it, in order.
func (s *numbers) came(t *testing.T) {
	t.Helper()
	got := s.to.take()
	for i, p := range got {
		if want := fmt.Sprintf("%0*d", s.size, i); p.payload != want {
			t.Fatalf("packet %d is another one, of %d bytes", i, len(p.payload))
		}
	}
	if len(got) != s.sent {
		t.Errorf("%d packets came, of %d", len(got), s.sent)
	}
}

// TestBackpressure has a guest wait for one without room, rather than have what it sends
// wait in the switch.
func TestBackpressure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		s := &numbers{from: a, to: b, size: 16 << 10}
		const packets = 1000
		go func() {
			for s.sent < packets {
				s.next()
			}
		}()
		for given := 0; given < packets; {
			synctest.Wait()
			if n := a.port.info().Buffered; n >= mostUnpressed+s.size+heldOverhead {
				t.Fatalf("%d bytes wait in the switch", n)
			}
			b.give(10)
			given += 10
		}
		synctest.Wait()
		s.came(t)
		if i := a.port.info(); i.Buffered != 0 || i.Counters.Overflow != 0 {
			t.Errorf("in the end: %+v", i)
		}
		if s.waited > mostHeldBack {
			t.Errorf("it waited for %v, though there was room at once", s.waited)
		}
	})
}

// TestBackpressureEnds has the receiver take nothing: its sender goes on after a while, and
// waits no more until all has gone.
func TestBackpressureEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		s := &numbers{from: a, to: b, size: 16 << 10}
		for range 100 {
			s.next()
		}
		if s.waited != mostHeldBack {
			t.Errorf("it waited for %v, want %v", s.waited, mostHeldBack)
		}
		b.give(100)
		synctest.Wait()
		s.came(t)
		s.sent = 0
		for range 100 {
			s.next()
		}
		// What 100 packets bring, and the time.
		more := 100*(16<<10+heldOverhead)*heldBackPerByte + mostHeldBack/heldBackShare
		if got := s.waited - mostHeldBack; got < more-more/10 || got > more {
			t.Errorf("then it waited for %v, want about %v", got, more)
		}
		b.port.leave()
		synctest.Wait()
		if n := a.port.info().Buffered; n != 0 {
			t.Errorf("%d bytes wait for one that has left", n)
		}
	})
}

// TestBackpressureLeaves has the receiver leave while its sender is held back.
func TestBackpressureLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		s := &numbers{from: a, to: b, size: mostUnpressed}
		s.next()
		done := make(chan struct{})
		go func() {
			s.next()
			close(done)
		}()
		synctest.Wait()
		b.port.leave()
		<-done
		if s.waited != 0 {
			t.Errorf("it waited for %v", s.waited)
		}
	})
}

// TestBackpressureShare has guests that take next to nothing, many of them: all together,
// they hold up no more than a part of the time of one that sends to all of them.
func TestBackpressureShare(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sw := New(Config{})
		defer sw.Close()
		a := joinFake(t, sw, 3, Limits{Buffered: -1})
		const slow, size, long = 4, 100, 10 * time.Second
		var all []*numbers
		for cid := range uint32(slow) {
			g := joinFake(t, sw, 4+cid, Limits{})
			g.room = 0
			all = append(all, &numbers{from: a, to: g, size: size})
		}
		fast := &numbers{from: a, to: joinFake(t, sw, 100, Limits{}), size: size}
		stop, stopped := make(chan struct{}), make(chan struct{})
		taken := 0
		go func() { // each takes a packet in a while, and all that waits once in a longer one
			defer close(stopped)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-tick.C:
				case <-stop:
					return
				}
				s, room := all[n%slow], 1
				if n%(100*slow) >= 99*slow {
					room = 1 << 20
				}
				s.to.give(room)
				synctest.Wait()
				s.to.mu.Lock()
				if room > 1 {
					s.to.room = 0
				}
				taken += len(s.to.got)
				s.to.got = nil
				s.to.mu.Unlock()
			}
		}()
		begun := time.Now()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for time.Since(begun) < long {
			<-tick.C
			for _, s := range all {
				s.next()
			}
			fast.next()
			fast.to.take()
		}
		close(stop)
		<-stopped
		var waited time.Duration
		for _, s := range all {
			waited += s.waited
		}
		bound := mostHeldBack + long/heldBackShare + time.Duration(taken)*(size+heldOverhead)*heldBackPerByte
		t.Logf("held back for %v of %v, want %v at most; %d packets were taken", waited, long, bound, taken)
		if waited > bound || waited < bound/4 {
			t.Errorf("held back for %v of %v, want %v at most", waited, long, bound)
		}
		if fast.waited != 0 {
			t.Errorf("one that takes all holds it back for %v", fast.waited)
		}
	})
}

// TestBackpressureAnswers has the switch answer in the name of a guest without room: nobody
// waits for that.
func TestBackpressureAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		a.send(t, b, packet.OpRW, 1000, 80, strings.Repeat("x", mostUnpressed))
		a.port.leave()
		b.give(10)
		synctest.Wait()
		if got := b.take(); len(got) != 3 || got[2].Op != packet.OpReset {
			t.Errorf("it gets %d packets", len(got))
		}
	})
}

// TestBackpressureMixed has a receiver take very much, and stop: one that sends to others too
// is held back for an eighth of the time at most.
func TestBackpressureMixed(t *testing.T) {
	const pause, much = 10 * time.Millisecond, 1 << 30
	for name, tc := range map[string]struct {
		to   []uint32 // whom it sends to meanwhile
		want time.Duration
	}{
		"to one":          {nil, mostHeldBack},
		"to that, again":  {[]uint32{4, 4}, mostHeldBack},
		"to others":       {[]uint32{5}, pause / heldBackOfMixed},
		"to the host":     {[]uint32{2}, pause / heldBackOfMixed},
		"to others, back": {[]uint32{5, 4}, pause / heldBackOfMixed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				sw := New(Config{})
				defer sw.Close()
				a := joinFake(t, sw, 3, Limits{})
				send := func(cid uint32) {
					a.sendAll(&packet.Packet{Header: packet.Header{
						SrcCID: 3, DstCID: uint64(cid), SrcPort: 1000, DstPort: 80, Type: packet.TypeStream, Op: packet.OpCreditUpdate,
					}})
				}
				joinFake(t, sw, 4, Limits{})
				joinFake(t, sw, 5, Limits{})
				send(4)
				p := a.port.backpressure
				p.spend(p.earn(0, a.port.turns.Load()))
				for _, cid := range tc.to {
					send(cid)
				}
				<-time.After(pause)
				if got := p.earn(much, a.port.turns.Load()); got != tc.want {
					t.Errorf("it may be held back for %v, want %v", got, tc.want)
				}
			})
		})
	}
}

// TestBackpressureRate has a guest with a limited rate be held back: what was refused has
// not been paid for.
func TestBackpressureRate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{ByteRate: 100 * packet.MaxPayload, PacketRate: 1000})
		s := &numbers{from: a, to: b, size: packet.MaxPayload}
		s.next()
		left := func() [2]float64 {
			k := a.port.bucket.Load()
			k.mu.Lock()
			defer k.mu.Unlock()
			return [2]float64{k.packets.level, k.bytes.level}
		}
		before := left()
		p := &packet.Packet{Header: packet.Header{
			SrcCID: 3, DstCID: 4, SrcPort: 1000, DstPort: 80, Type: packet.TypeStream, Op: packet.OpCreditUpdate,
		}}
		if _, ok := a.port.Take(p, make(alarm, 1)); ok {
			t.Fatal("it is not held back")
		}
		if got := left(); got != before {
			t.Errorf("packets and bytes that it may send: %v, before %v", got, before)
		}
	})
}
