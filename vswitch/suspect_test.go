package vswitch

import (
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/packet"
)

// suspects are two guests, and how often each was found at fault.
type suspects struct {
	t      *testing.T
	a, b   *fakeGuest
	faults map[*fakeGuest]int
}

func newSuspects(t *testing.T) *suspects {
	t.Helper()
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	s := &suspects{t: t, a: joinFake(t, sw, 3, Limits{}), b: joinFake(t, sw, 4, Limits{}), faults: make(map[*fakeGuest]int)}
	for _, g := range []*fakeGuest{s.a, s.b} {
		g.port.fault = func() { s.faults[g]++ }
	}
	return s
}

// found checks what a was found at fault with; b never is.
func (s *suspects) found(what string, a int) {
	s.t.Helper()
	if s.faults[s.a] != a || s.faults[s.b] != 0 {
		s.t.Errorf("%s: faults %d and %d, want %d and none", what, s.faults[s.a], s.faults[s.b], a)
	}
	if n := s.a.port.info().Counters.Stray; n != uint64(a) {
		s.t.Errorf("%s: %d strays are counted", what, n)
	}
}

// TestStrayData has a guest send data of no connection: the first of it is passed on, and
// is answered by whom it is for, who is not to blame. Of the others that one hears nothing.
func TestStrayData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuspects(t)
		s.a.send(t, s.b, packet.OpRequest, 1, 2, "")
		s.b.send(t, s.a, packet.OpResponse, 2, 1, "")
		s.a.send(t, s.b, packet.OpRW, 9, 9, "stray")
		if got := s.b.take(); len(got) != 2 {
			t.Fatalf("passed on: %v", got)
		}
		s.b.send(t, s.a, packet.OpReset, 9, 9, "")
		s.found("an answer", 0)
		s.a.take()
		n := 0
		for _, op := range []packet.Op{packet.OpRW, packet.OpCreditUpdate, packet.OpCreditRequest, packet.OpShutdown} {
			s.a.send(t, s.b, op, 9, 9, "")
			n++
			if got := s.a.take(); len(got) != 1 || got[0].Op != packet.OpReset {
				t.Errorf("%v: the answer is %v", op, got)
			}
			s.found("stray "+op.String(), n)
		}
		if got := s.b.take(); len(got) != 0 {
			t.Errorf("passed on: %v", got)
		}
		// What is of a connection passes, from both ends.
		s.a.send(t, s.b, packet.OpRW, 1, 2, "there")
		s.b.send(t, s.a, packet.OpRW, 2, 1, "back")
		if there, back := s.b.take(), s.a.take(); len(there) != 1 || there[0].payload != "there" || len(back) != 1 || back[0].payload != "back" {
			t.Errorf("passed on: %v, %v", there, back)
		}
		s.found("a connection", n)
		// After a time without an answer that tells of more, data is not looked up.
		<-time.After(2 * suspectTime)
		s.a.send(t, s.b, packet.OpRW, 9, 9, "stray")
		if got := s.b.take(); len(got) != 1 {
			t.Errorf("passed on: %v", got)
		}
	})
}

// TestStrayResets has a guest send RSTs of no connection: no more of them are taken for
// answers than there can be.
func TestStrayResets(t *testing.T) {
	s := newSuspects(t)
	for range 5 {
		s.a.send(t, s.b, packet.OpReset, 9, 9, "")
	}
	s.found("to whom has sent nothing", 5)
	for range 3 {
		s.b.send(t, s.a, packet.OpRW, 1, 1, "stray")
	}
	for range 10 {
		s.a.send(t, s.b, packet.OpReset, 1, 1, "")
	}
	s.found("to whom has sent some", 5+10-3)
}
