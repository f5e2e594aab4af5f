package vswitch

import (
	"strings"
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

// TestStrayResetsOfLarge has a guest answer a large packet of no connection, which it gets in
// pieces, by an RST for each.
func TestStrayResetsOfLarge(t *testing.T) {
	s := newSuspects(t)
	const large = 3 * leastBuffer // comes to the guest as four packets, of which it answers each
	s.b.send(t, s.a, packet.OpRW, 1, 1, strings.Repeat("x", large))
	for range 10 {
		s.a.send(t, s.b, packet.OpReset, 1, 1, "")
	}
	s.found("to whom has sent a large one", 10-4)
}

// TestLateIsForgiven has a guest do what another can have it do, more of it than anybody
// does by mistake: none of that is a fault.
func TestLateIsForgiven(t *testing.T) {
	const many = 1000
	for name, do := range map[string]func(t *testing.T, s *suspects){
		"requests that the other leaves without an answer": func(t *testing.T, s *suspects) {
			for i := range uint32(DefaultHalfOpen + many) {
				s.a.send(t, s.b, packet.OpRequest, i, 1, "")
			}
			if n := s.a.port.info().Counters.Limited; n != many {
				t.Errorf("%d are refused, want %d", n, many)
			}
		},
		"connections that the other keeps open": func(t *testing.T, s *suspects) {
			for i := range uint32(DefaultConnections + many) {
				s.a.send(t, s.b, packet.OpRequest, i, 1, "")
				s.b.send(t, s.a, packet.OpResponse, 1, i, "")
			}
		},
		"ports where nobody listens": func(t *testing.T, s *suspects) {
			for i := range uint32(many) {
				s.a.send(t, s.b, packet.OpRequest, i, 1, "")
				s.b.send(t, s.a, packet.OpReset, 1, i, "")
			}
		},
		"resets from both ends": func(t *testing.T, s *suspects) {
			for i := range uint32(many) {
				s.a.send(t, s.b, packet.OpRequest, i, 1, "")
				s.b.send(t, s.a, packet.OpResponse, 1, i, "")
				s.b.send(t, s.a, packet.OpReset, 1, i, "")
				s.a.send(t, s.b, packet.OpReset, i, 1, "")
			}
		},
		"data in flight when the other resets": func(t *testing.T, s *suspects) {
			s.a.send(t, s.b, packet.OpRequest, 1, 1, "")
			s.b.send(t, s.a, packet.OpResponse, 1, 1, "")
			s.b.send(t, s.a, packet.OpReset, 1, 1, "")
			s.a.port.suspect.begin()
			for range inFlight {
				s.a.send(t, s.b, packet.OpRW, 1, 1, "x")
			}
		},
		"answers to stray data of one whose CID another has by now": func(t *testing.T, s *suspects) {
			for range many {
				s.b.send(t, s.a, packet.OpRW, 9, 9, "stray")
			}
			for range many / 2 { // the others are on their way
				s.a.send(t, s.b, packet.OpReset, 9, 9, "")
			}
			sw := s.b.port.sw
			sw.unplug(s.b.port)
			s.b = joinFake(t, sw, 4, Limits{})
			for range many / 2 {
				s.a.send(t, s.b, packet.OpReset, 9, 9, "")
			}
		},
		"data in flight to who has left": func(t *testing.T, s *suspects) {
			s.a.send(t, s.b, packet.OpRequest, 1, 1, "")
			s.b.send(t, s.a, packet.OpResponse, 1, 1, "")
			s.b.port.sw.unplug(s.b.port)
			for range inFlight {
				s.a.send(t, s.b, packet.OpRW, 1, 1, "x")
			}
			if n := s.a.port.info().Counters.Unreachable; n != inFlight {
				t.Errorf("%d are counted, want %d", n, inFlight)
			}
		},
		"datagrams to nobody": func(t *testing.T, s *suspects) {
			for range inFlight {
				h := packet.Header{SrcCID: 3, DstCID: 99, Type: packet.TypeDatagram, Op: packet.OpRW}
				s.a.port.Take(&packet.Packet{Header: h}, never{t})
			}
		},
		"its old CID, before it knows": func(t *testing.T, s *suspects) {
			if err := s.a.port.sw.move(s.a.port, 5); err != nil {
				t.Fatal(err)
			}
			for range many {
				h := packet.Header{SrcCID: 3, DstCID: 4, Type: packet.TypeStream, Op: packet.OpRW}
				s.a.port.Take(&packet.Packet{Header: h}, never{t})
			}
			if n := s.a.port.info().Counters.Forged; n != many {
				t.Errorf("%d are counted, want %d", n, many)
			}
		},
		"answers to requests that the switch has given up": func(t *testing.T, s *suspects) {
			for i := range uint32(DefaultHalfOpen) {
				s.b.send(t, s.a, packet.OpRequest, i, 1, "")
			}
			<-time.After(halfOpenTimeout + time.Second)
			s.b.send(t, s.a, packet.OpRequest, 1<<20, 1, "")
			for i := range uint32(DefaultHalfOpen) {
				s.a.send(t, s.b, packet.OpResponse, 1, i, "")
			}
			if n := s.a.port.info().Counters.Unsolicited; n != DefaultHalfOpen {
				t.Errorf("%d are counted, want %d", n, DefaultHalfOpen)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSuspects(t)
				do(t, s)
				// Those that a program does not come to by mistake, see device.patience.
				if most := int(s.a.port.info().Counters.Limited / refusalsPerFault); s.faults[s.a] > most {
					t.Errorf("%d faults of the one, want %d at most", s.faults[s.a], most)
				}
			})
		})
	}
}

// TestRefusalsWeigh: what the switch refuses over and over is a fault in the end.
func TestRefusalsWeigh(t *testing.T) {
	s := newSuspects(t)
	const many = 10 * refusalsPerFault
	for i := range uint32(many) {
		h := packet.Header{SrcCID: 3, DstCID: 99, SrcPort: i, Type: packet.TypeStream, Op: packet.OpRequest}
		s.a.port.Take(&packet.Packet{Header: h}, never{t})
	}
	if n := s.faults[s.a]; n != many/refusalsPerFault {
		t.Errorf("%d faults for %d requests to nobody, want %d", n, many, many/refusalsPerFault)
	}
	for i := range uint32(DefaultHalfOpen + many) {
		s.a.send(t, s.b, packet.OpRequest, i, 1, "")
	}
	if n := s.faults[s.a]; n != 2*many/refusalsPerFault {
		t.Errorf("%d faults with %d requests beyond the limits, want %d", n, many, 2*many/refusalsPerFault)
	}
}
