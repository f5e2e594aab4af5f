package vswitch

import (
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/packet"
)

// reset has b accept a connection of a's port, and reset it.
func (s *suspects) reset(port uint32) {
	s.t.Helper()
	s.a.send(s.t, s.b, packet.OpRequest, port, 1, "")
	s.b.send(s.t, s.a, packet.OpResponse, 1, port, "")
	s.b.send(s.t, s.a, packet.OpReset, 1, port, "")
}

// late has a send so many packets of a connection that was reset, which are looked up.
func (s *suspects) late(port uint32, n int) (faults int) {
	s.t.Helper()
	before := s.faults[s.a]
	s.a.port.suspect.begin()
	for range n {
		s.a.send(s.t, s.b, packet.OpRW, port, 1, "x")
	}
	return s.faults[s.a] - before
}

// TestGraceIsOfOneConnection: whose connections are reset gains nothing by it.
func TestGraceIsOfOneConnection(t *testing.T) {
	const many = 100
	for name, do := range map[string]func(s *suspects){
		"data of another connection": func(s *suspects) { s.late(2, many) },
		"another's CID": func(s *suspects) {
			for range many {
				h := packet.Header{SrcCID: 99, DstCID: 4, SrcPort: 1, DstPort: 1, Type: packet.TypeStream, Op: packet.OpRW}
				s.a.port.Take(&packet.Packet{Header: h}, never{s.t})
			}
		},
		"answers to requests that nobody made": func(s *suspects) {
			for range many {
				s.a.send(s.t, s.b, packet.OpResponse, 3, 3, "")
			}
		},
		"data to nobody": func(s *suspects) {
			for range many * refusalsPerFault {
				h := packet.Header{SrcCID: 3, DstCID: 99, SrcPort: 1, DstPort: 1, Type: packet.TypeStream, Op: packet.OpRW}
				s.a.port.Take(&packet.Packet{Header: h}, never{s.t})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuspects(t)
			s.reset(1)
			if do(s); s.faults[s.a] != many {
				t.Errorf("%d faults, want %d", s.faults[s.a], many)
			}
			if n := s.late(1, inFlight); n != 0 {
				t.Errorf("%d faults for data of the connection itself", n)
			}
		})
	}
}

// TestGraceEnds holds it to its number and time, and the connections to theirs.
func TestGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuspects(t)
		s.reset(1)
		if n := s.late(1, inFlight+10); n != 10 {
			t.Errorf("%d faults for ten packets more than may be in flight", n)
		}
		s.reset(1)
		if n := s.late(1, 10); n != 0 {
			t.Errorf("%d faults after the port's next connection", n)
		}
		<-time.After(graceTime)
		if n := s.late(1, 10); n != 10 {
			t.Errorf("%d faults for ten packets that come too late", n)
		}
		for port := range uint32(graceFlows + 1) {
			s.reset(port)
		}
		if n := s.late(0, 10); n != 10 {
			t.Errorf("%d faults for ten packets of a connection before so many others", n)
		}
		if n := s.late(1, 10) + s.late(graceFlows, 10); n != 0 {
			t.Errorf("%d faults for those that ended last", n)
		}
		if g := &s.a.port.grace; len(g.flows) > graceFlows || len(g.last) != graceFlows {
			t.Errorf("%d and %d connections are kept", len(g.flows), len(g.last))
		}
	})
}

// TestGraceOfCIDs has more contexts leave than are remembered.
func TestGraceOfCIDs(t *testing.T) {
	var g grace
	for cid := range uint32(2 * graceCIDs) {
		g.cid(cid, 1)
	}
	if len(g.cids) != graceCIDs {
		t.Errorf("%d contexts are kept", len(g.cids))
	}
	h := packet.Header{DstCID: 2*graceCIDs - 1}
	if first, second := g.forgives(&h), g.forgives(&h); !first || second {
		t.Errorf("of one packet: %v, %v", first, second)
	}
	for range 2 * graceBurst {
		g.cid(7, inFlight)
	}
	if n := g.cids[7].packets; n != graceBurst*inFlight {
		t.Errorf("%d packets are no fault", n)
	}
}

// TestGraceOfStopped has a guest be stopped and go on: what it takes for open is not, which it
// is told by RSTs to what it sends.
func TestGraceOfStopped(t *testing.T) {
	s := newSuspects(t)
	const many = 500
	s.a.send(t, s.b, packet.OpRequest, 1, 1, "")
	s.b.send(t, s.a, packet.OpResponse, 1, 1, "")
	s.a.port.leave()
	if n := s.late(1, many); n != 0 {
		t.Errorf("%d faults", n)
	}
	s.a.port.leave() // there is nothing that it could take for open
	s.a.port.grace.all.until = time.Now()
	if n := s.late(1, many); n != many {
		t.Errorf("%d faults, want %d", n, many)
	}
}

// TestRefusalsWeighTogether has packets that weigh nothing come between those that do.
func TestRefusalsWeighTogether(t *testing.T) {
	s := newSuspects(t)
	const many = 100
	for i := range uint32(many * refusalsPerFault) {
		h := packet.Header{SrcCID: 3, DstCID: 99, SrcPort: i, Type: packet.TypeStream, Op: packet.OpRequest}
		if i%refusalsPerFault == refusalsPerFault-1 {
			h.Type, h.Op = packet.TypeDatagram, packet.OpRW
		}
		s.a.port.Take(&packet.Packet{Header: h}, never{t})
	}
	if n, want := s.faults[s.a], many*(refusalsPerFault-1)/refusalsPerFault; n != want {
		t.Errorf("%d faults, want %d", n, want)
	}
}

// TestAnswersAreRecent has a guest send RSTs to one that once sent much.
func TestAnswersAreRecent(t *testing.T) {
	s := newSuspects(t)
	for range 3 * inFlight {
		s.b.send(t, s.a, packet.OpRW, 1, 1, "stray")
	}
	const more = 10
	for range inFlight + more {
		s.a.send(t, s.b, packet.OpReset, 1, 1, "")
	}
	s.found("more than may be in flight", more)
}
