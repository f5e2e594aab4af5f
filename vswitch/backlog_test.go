package vswitch

import (
	"strings"
	"testing"
	"testing/synctest"

	"vsockets.dev/internal/packet"
)

// ops are the operations of what arrived, with payloads.
func ops(got []arrived) string {
	var s []string
	for _, a := range got {
		s = append(s, strings.TrimSpace(a.Op.String()+" "+a.payload))
	}
	return strings.Join(s, ", ")
}

// two joins two fake guests, the second without a buffer.
func two(t *testing.T, l Limits) (a, b *fakeGuest) {
	t.Helper()
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	a, b = joinFake(t, sw, 3, l), joinFake(t, sw, 4, Limits{})
	b.room = 0
	return a, b
}

// inBubble runs a test whose goroutines can be waited for.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// TestBacklogOrder has packets wait, and go in parts as there is room.
func TestBacklogOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		b.size = 4
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		a.send(t, b, packet.OpRW, 1000, 80, "abcdefgh")
		a.send(t, b, packet.OpRW, 1000, 80, "ij")
		a.send(t, b, packet.OpShutdown, 1000, 80, "")
		const held = 4*heldOverhead + 10
		if n := a.port.info().Buffered; n != held {
			t.Errorf("%d bytes wait, want %d", n, held)
		}
		for _, step := range []struct {
			room int
			want string
			left int
		}{
			{1, "REQUEST", held - heldOverhead},
			{0, "", held - heldOverhead},
			{1, "RW abcd", held - heldOverhead}, // a part of it is all of it, to the limits
			{2, "RW efgh, RW ij", heldOverhead},
			{5, "SHUTDOWN", 0},
		} {
			b.give(step.room)
			synctest.Wait()
			if got := ops(b.take()); got != step.want {
				t.Errorf("%d buffers more: %q, want %q", step.room, got, step.want)
			}
			if n := a.port.info().Buffered; n != step.left {
				t.Errorf("%d bytes wait, want %d", n, step.left)
			}
		}
		a.send(t, b, packet.OpRW, 1000, 80, "kl")
		if got := ops(b.take()); got != "RW kl" { // without a goroutine between
			t.Errorf("with room again: %q", got)
		}
	})
}

// TestBacklogEarlyWake has the receiver wake before the sender has noted that it waits.
func TestBacklogEarlyWake(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		for _, early := range []int{1, 2, 7} {
			b.early = early
			a.send(t, b, packet.OpRequest, 1000, 80, "")
			a.send(t, b, packet.OpRW, 1000, 80, "x")
			synctest.Wait()
			if got := b.take(); len(got) != 0 {
				t.Fatalf("without a buffer: %q", ops(got))
			}
			b.give(2)
			synctest.Wait()
			if got := ops(b.take()); got != "REQUEST, RW x" {
				t.Errorf("woken early %d times: %q", early, got)
			}
		}
	})
}

// TestBacklogOverflow has a connection exceed what may wait: each end gets an RST, the
// receiver after what waited, and in its turn.
func TestBacklogOverflow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		big := strings.Repeat("x", 1000)
		a, b := two(t, Limits{Buffered: 4 * (4*heldOverhead + 2000)})
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		a.send(t, b, packet.OpRequest, 1001, 80, "")
		a.send(t, b, packet.OpRW, 1000, 80, big)
		a.send(t, b, packet.OpRW, 1000, 80, big)
		if got := a.take(); len(got) != 0 {
			t.Fatalf("within the limit: %q", ops(got))
		}
		a.send(t, b, packet.OpRW, 1000, 80, "y")
		got := a.take()
		if ops(got) != "RST" || got[0].DstPort != 1000 || got[0].SrcPort != 80 || got[0].SrcCID != 4 {
			t.Fatalf("the sender gets %v", got)
		}
		a.send(t, b, packet.OpRW, 1000, 80, "z")
		a.send(t, b, packet.OpReset, 1000, 80, "")
		if i := a.port.info(); i.Counters.Overflow != 1 || i.Connections != 1 {
			t.Errorf("info: %+v", i)
		}
		b.give(2)
		synctest.Wait()
		a.send(t, b, packet.OpRW, 1001, 80, "still here") // behind the RST
		b.give(10)
		synctest.Wait()
		var s []string
		for _, p := range b.take() {
			s = append(s, p.Op.String()+string(rune('a'+p.SrcPort-1000)))
		}
		if got, want := strings.Join(s, " "), "REQUESTa REQUESTb RWa RWa RSTa RWb"; got != want {
			t.Errorf("the receiver gets %s, want %s", got, want)
		}
		if n := a.port.info().Buffered; n != 0 {
			t.Errorf("%d bytes wait for ever", n)
		}
	})
}

// resets is how many connections wait for their RST.
func (g *fakeGuest) resetsFor(to *fakeGuest) int {
	b := g.port.backlogTo(to.port)
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.resets)
}

// TestBacklogReopened has a connection of the same ports follow one that ended: it goes
// behind the RST of that, or is refused while an RST of ours is on the way.
func TestBacklogReopened(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{Buffered: destinationShare * 6 * heldOverhead})
		for range 2 {
			a.send(t, b, packet.OpRequest, 1000, 80, "")
			a.send(t, b, packet.OpReset, 1000, 80, "")
		}
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		a.send(t, b, packet.OpRW, 1000, 80, strings.Repeat("x", heldOverhead)) // too much
		if got := ops(a.take()); got != "RST" {
			t.Errorf("beyond the limit: %q", got)
		}
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		if got := ops(a.take()); got != "RST" || a.port.info().Connections != 0 {
			t.Errorf("asked again before the receiver knows: %q, %+v", got, a.port.info())
		}
		b.give(10)
		synctest.Wait()
		if got, want := ops(b.take()), "REQUEST, RST, REQUEST, RST, REQUEST, RST"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		if got := ops(b.take()); got != "REQUEST" {
			t.Errorf("and after: %q", got)
		}
	})
}

// TestBacklogUnknownReset does not keep an RST that ends nothing.
func TestBacklogUnknownReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		for port := range uint32(100) {
			a.send(t, b, packet.OpReset, port, 80, "")
		}
		if n := a.port.info().Buffered + a.resetsFor(b); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// TestBacklogBound has a guest that takes nothing ask for one connection after another.
// Whatever the other one says to that, what the switch keeps for it has a bound.
func TestBacklogBound(t *testing.T) {
	for _, answer := range []packet.Op{
		packet.OpReset, packet.OpResponse, packet.OpRW, packet.OpShutdown, packet.OpCreditUpdate, packet.OpInvalid,
	} {
		t.Run(answer.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				const waits = 10
				a, b := two(t, Limits{Buffered: destinationShare * waits * heldOverhead})
				for i := range uint32(3 * maxResets) {
					b.send(t, a, packet.OpRequest, i, 80, "")
					a.send(t, b, answer, 80, i, "")
					b.send(t, a, packet.OpReset, i, 80, "") // it thinks better of it
				}
				a.take()
				if n := a.resetsFor(b); n > maxResets {
					t.Errorf("%d RST wait for it, want %d at most", n, maxResets)
				}
				if i := a.port.info(); i.Buffered > waits*heldOverhead || i.Connections != 0 {
					t.Errorf("info: %+v", i)
				}
				b.give(waits + maxResets)
				synctest.Wait()
				if i := a.port.info(); i.Buffered != 0 || a.resetsFor(b) != 0 {
					t.Errorf("in the end: %+v, %d RST", i, a.resetsFor(b))
				}
				b.take()
				b.give(1)
				b.send(t, a, packet.OpRequest, 7, 80, "")
				a.send(t, b, packet.OpResponse, 80, 7, "")
				if got := ops(a.take()) + ops(b.take()); got != "REQUESTRESPONSE" {
					t.Errorf("after it took them: %q", got)
				}
			})
		})
	}
}

// TestBacklogCleared has the receiver reboot: nothing of before arrives.
func TestBacklogCleared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := two(t, Limits{})
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		a.send(t, b, packet.OpRW, 1000, 80, "x")
		a.send(t, b, packet.OpRequest, 1001, 80, "")
		a.send(t, b, packet.OpReset, 1001, 80, "")
		b.port.leave()
		synctest.Wait()
		if got := a.take(); ops(got) != "RST" || got[0].DstPort != 1000 {
			t.Errorf("the sender gets %v", got)
		}
		if i := a.port.info(); i.Buffered != 0 || i.Connections != 0 || i.HalfOpen != 0 || a.resetsFor(b) != 0 {
			t.Errorf("left: %+v, %d resets", i, a.resetsFor(b))
		}
		b.give(1)
		a.send(t, b, packet.OpRequest, 1000, 80, "")
		a.send(t, b, packet.OpRW, 1000, 80, "new")
		b.give(10)
		synctest.Wait()
		if got := ops(b.take()); got != "REQUEST, RW new" {
			t.Errorf("after the reboot: %q", got)
		}
	})
}

// TestBacklogShare has one destination that has stopped leave room for the others.
func TestBacklogShare(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sw := New(Config{})
		defer sw.Close()
		const waits = 10
		a := joinFake(t, sw, 3, Limits{Buffered: destinationShare * waits * heldOverhead})
		var all []*fakeGuest
		for cid := range uint32(destinationShare + 1) {
			g := joinFake(t, sw, 4+cid, Limits{})
			g.room = 0
			all = append(all, g)
			for port := range uint32(2 * waits) {
				a.send(t, g, packet.OpRequest, port, 80, "")
			}
		}
		want := destinationShare * waits * heldOverhead
		if n := a.port.info().Buffered; n != want {
			t.Errorf("%d bytes wait, want %d", n, want)
		}
		for i, g := range all {
			g.give(100)
			synctest.Wait()
			want := waits
			if i == destinationShare {
				want = 0
			}
			if got := len(g.take()); got != want {
				t.Errorf("destination %d gets %d, want %d", i, got, want)
			}
		}
		if i := a.port.info(); i.Buffered != 0 || i.Connections != destinationShare*waits {
			t.Errorf("in the end: %+v", i)
		}
	})
}
