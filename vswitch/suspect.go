package vswitch

import (
	"sync/atomic"
	"time"

	"vsockets.dev/internal/packet"
)

// Data is not looked up, so the switch does not see whether it is of a connection: the
// receiver does, and answers with RST if not. An RST of no connection so tells of a
// stray packet, or it is one itself. Neither end must be able to have the other pay for
// its own: so the RST counts against its sender only if there are more than what
// the other one sent at all; and that one is looked at from now on, for a time, which
// costs it some of its speed, and no more if it sends what it may.

// tally is what a port sent to another.
type tally struct {
	passed  atomic.Uint64 // packets, as the receiver may count them, see pieces
	answers atomic.Uint64 // RSTs of no connection among them that may be answers
}

// tallyTo gives that to a port. It outlives the way there, which is found anew whenever
// others come and go.
func (p *port) tallyTo(to *port) *tally {
	p.backlogMu.Lock()
	defer p.backlogMu.Unlock()
	t := p.tallies[to]
	if t == nil {
		if p.tallies == nil {
			p.tallies = make(map[*port]*tally)
		}
		t = new(tally)
		p.tallies[to] = t
	}
	return t
}

// leastBuffer is the least that a receive buffer has room for, as a rule: those of Linux are a page,
// less what the kernel itself needs of it.
const leastBuffer = 2 << 10

// pieces is how many packets the receiver may get for one, and so may answer.
func pieces(h *packet.Header) uint64 { return 1 + uint64(h.Len)/leastBuffer }

// suspectTime is for how long data is looked up.
const suspectTime = time.Second

// suspicion is whether what a context sends is looked up.
type suspicion struct{ until atomic.Pointer[time.Time] } // nil: it is not

func (s *suspicion) begin() {
	if until := s.until.Load(); until == nil || time.Until(*until) < suspectTime/2 {
		t := time.Now().Add(suspectTime)
		s.until.Store(&t)
	}
}

func (s *suspicion) on() bool {
	until := s.until.Load()
	if until == nil {
		return false
	}
	if time.Until(*until) > 0 {
		return true
	}
	s.until.CompareAndSwap(until, nil)
	return false
}

// strayReset deals with an RST of no connection that goes a way. It may answer what the
// other end sent lately, which is no more than inFlight packets.
func (p *port) strayReset(v *way, h *packet.Header) {
	passed := v.to.passedTo(p)
	for {
		answers := v.tally.answers.Load()
		counted := max(answers, passed-min(passed, inFlight))
		if counted >= passed {
			p.late(h, &p.counters.stray)
			return
		}
		if v.tally.answers.CompareAndSwap(answers, counted+1) {
			break
		}
	}
	if v.to.fault != nil {
		v.to.suspect.begin()
	}
}

// passedTo is how many packets the port sent to another.
func (p *port) passedTo(to *port) uint64 {
	p.backlogMu.Lock()
	defer p.backlogMu.Unlock()
	if t := p.tallies[to]; t != nil {
		return t.passed.Load()
	}
	return 0
}

// forgetTally forgets what was sent to a port that was unplugged. Answers to what that one
// sent may still come, when another has its CID.
func (p *port) forgetTally(to *port) {
	passed := to.passedTo(p)
	p.backlogMu.Lock()
	if t := p.tallies[to]; t != nil {
		passed -= min(passed, t.answers.Load())
	}
	delete(p.tallies, to)
	p.backlogMu.Unlock()
	if p.fault != nil && passed > 0 {
		p.grace.cid(to.cid.Load(), int(min(passed, inFlight)))
	}
}

// connected says whether a packet is of a connection, whoever opened it.
func (p *port) connected(pkt *packet.Packet, to *port) bool {
	return p.flows.has(outbound(&pkt.Header)) || to.flows.has(inbound(&pkt.Header))
}
