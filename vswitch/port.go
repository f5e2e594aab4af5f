package vswitch

import (
	"fmt"
	"io"
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"vsockets.dev/internal/packet"
)

// owner is whose port it is: a Context, a Guest, or an attached process.
type owner interface {
	io.Closer
	fmt.Stringer
	// info adds what the owner knows to what the port does.
	info(*Info)
}

// port is where a context is joined to the switch. It is the Sink of what the
// context sends; to is the Sink of what it is sent.
type port struct {
	sw    *Switch
	owner owner
	to    packet.Sink

	// fault is told of rules that the context breaks, where nobody else can have had it do
	// so. Nil: it is one of this program.
	fault func()

	grace    grace
	suspect  suspicion
	refusals atomic.Uint64 // those that weigh less than a fault

	// gone is told of contexts that left. Nil: the context is a guest's, whose
	// connections the switch resets.
	gone func(cid uint32)

	cid    atomic.Uint32
	groups atomic.Pointer[[]string] // sorted
	limits atomic.Pointer[Limits]
	bucket atomic.Pointer[bucket] // nil: no limit to the rates
	flows  flows

	// ways is what is known of others, by CID. It is replaced, never changed, and
	// emptied when contexts or the policy change.
	ways atomic.Pointer[map[uint32]*way]

	backlogMu sync.Mutex
	backlogs  map[*port]*backlog // of a guest, to other guests
	tallies   map[*port]*tally   // of what was sent to others
	buffered  atomic.Int64       // bytes in them

	backpressure *backpressure
	last         atomic.Uint32 // the CID that it sent to
	turns        atomic.Uint64 // how often that became another

	counters counters
}

// way leads from one port to another.
type way struct {
	to      *port
	open    bool     // there may be connections, in one direction at least
	backlog *backlog // where both are guests
	tally   *tally
}

// newPort makes a port that is not plugged in yet.
func (sw *Switch) newPort(cid uint32, groups []string, l Limits) (*port, error) {
	p := &port{sw: sw, backpressure: newBackpressure()}
	p.cid.Store(cid)
	if err := p.setLimits(l); err != nil {
		return nil, err
	}
	if err := p.setGroups(groups); err != nil {
		return nil, err
	}
	p.forgetWays()
	return p, nil
}

// setGroups takes effect when the ways are found anew.
func (p *port) setGroups(groups []string) error {
	groups, err := sortedGroups(groups)
	if err == nil {
		p.groups.Store(&groups)
	}
	return err
}

// changeGroups puts the context into other groups.
func (p *port) changeGroups(groups []string) error {
	p.sw.mu.Lock()
	err := p.setGroups(groups)
	p.sw.forgetWays()
	p.sw.mu.Unlock()
	p.sw.cut()
	return err
}

// member is what the policy sees.
func (p *port) member() member { return member{p.cid.Load(), *p.groups.Load()} }

func (p *port) setLimits(l Limits) error {
	if err := l.check(); err != nil {
		return err
	}
	l = l.withDefaults()
	p.limits.Store(&l)
	if old := p.bucket.Swap(newBucket(l)); old != nil {
		old.stop()
	}
	return nil
}

// Take passes a packet on to its destination.
func (p *port) Take(pkt *packet.Packet, w packet.Waker) (int, bool) {
	if t := p.sw.taps.Load(); t != nil {
		return t.take(p, pkt, w)
	}
	return p.pass(pkt, w)
}

func (p *port) pass(pkt *packet.Packet, w packet.Waker) (int, bool) {
	rate := p.bucket.Load()
	if rate != nil && !rate.take(int(pkt.Len), w) {
		return 0, false
	}
	if pkt.SrcCID != uint64(p.cid.Load()) {
		p.forged(&pkt.Header)
		return int(pkt.Len), true
	}
	if !pkt.Known() {
		p.broke(&p.counters.invalid)
		return p.refuse(pkt)
	}
	v := p.wayTo(pkt.DstCID)
	if v == nil {
		p.astray(&pkt.Header, &p.counters.unreachable)
		return p.refuse(pkt)
	}
	if !v.open {
		p.astray(&pkt.Header, &p.counters.denied)
		return p.refuse(pkt)
	}
	if v.backlog != nil && !v.backlog.admits(w) {
		if rate != nil {
			rate.giveBack(int(pkt.Len)) // it comes again
		}
		return 0, false
	}
	if to := uint32(pkt.DstCID); p.last.Load() != to {
		p.last.Store(to)
		p.turns.Add(1)
	}
	known := true
	if pkt.Op <= packet.OpReset || pkt.Type == packet.TypeDatagram {
		var ok bool
		if known, ok = p.admit(pkt, v.to); !ok {
			return p.refuse(pkt)
		}
		if !known && w != nil { // else it is an answer that the switch gives itself
			p.strayReset(v, &pkt.Header)
		}
	} else if p.suspect.on() && !p.connected(pkt, v.to) {
		p.late(&pkt.Header, &p.counters.stray)
		return p.refuse(pkt)
	}
	v.tally.passed.Add(pieces(&pkt.Header)) // before it is there: it may be answered at once
	if v.backlog == nil {
		n, ok := v.to.to.Take(pkt, w)
		if !ok {
			v.tally.passed.Add(-pieces(&pkt.Header)) // it comes again
		}
		return n, ok
	}
	if limit := p.limits.Load().BufAlloc; limit >= 0 && uint64(pkt.BufAlloc) > uint64(limit) {
		pkt.BufAlloc = uint32(limit)
	}
	v.backlog.take(pkt, known)
	return int(pkt.Len), true
}

// admit follows connections: where one may be opened, answered, and has ended. Of
// an RST, known tells whether there was one.
func (p *port) admit(pkt *packet.Packet, to *port) (known, ok bool) {
	switch {
	case pkt.Type == packet.TypeDatagram:
		return true, p.permits(pkt, to)
	case pkt.Op == packet.OpRequest:
		if !p.permits(pkt, to) {
			return false, false
		}
		ok, given := p.flows.request(outbound(&pkt.Header), p.limits.Load())
		for _, k := range given {
			if q := (*p.sw.routes.Load())[k.remote]; q != nil {
				q.forgive(k.back(p.cid.Load())) // it may answer yet
			}
		}
		if !ok {
			p.tooMany(&p.counters.limited)
			return false, false
		}
	case pkt.Op == packet.OpResponse:
		if !to.flows.answer(inbound(&pkt.Header)) {
			p.late(&pkt.Header, &p.counters.unsolicited)
			return false, false
		}
	case pkt.Op == packet.OpReset:
		opened := p.flows.end(outbound(&pkt.Header))
		refused := to.flows.unanswered(inbound(&pkt.Header)) // and so it sent nothing
		accepted := to.flows.end(inbound(&pkt.Header))
		if opened || accepted && !refused {
			to.forgive(inbound(&pkt.Header))
		}
		return opened || accepted, true
	}
	return true, true
}

// permits asks the policy's rules about a connection, or a datagram.
func (p *port) permits(pkt *packet.Packet, to *port) bool {
	if p.sw.policy.Load().allows(p.member(), to.member(), pkt.DstPort) {
		return true
	}
	p.astray(&pkt.Header, &p.counters.denied)
	return false
}

// refuse answers a packet that goes no further.
func (p *port) refuse(pkt *packet.Packet) (int, bool) {
	if h, ok := pkt.Refusal(); ok {
		p.sw.tap(&h)
		p.to.Take(&packet.Packet{Header: h}, nil)
	}
	return int(pkt.Len), true
}

// wayTo gives the way to a CID, nil if there is none.
func (p *port) wayTo(cid uint64) *way {
	if cid>>32 != 0 {
		return nil
	}
	if v := (*p.ways.Load())[uint32(cid)]; v != nil {
		return v
	}
	if (*p.sw.routes.Load())[uint32(cid)] == nil {
		return nil // without a lock, whatever a guest tries
	}
	return p.learn(uint32(cid))
}

// learn finds out about a CID, and keeps it.
func (p *port) learn(cid uint32) *way {
	p.sw.mu.Lock()
	defer p.sw.mu.Unlock()
	to := (*p.sw.routes.Load())[cid]
	if to == nil {
		return nil
	}
	v := &way{to: to, tally: p.tallyTo(to), open: to != p && p.sw.policy.Load().mayTalk(p.member(), to.member())}
	if v.open && p.gone == nil && to.gone == nil {
		v.backlog = p.backlogTo(to)
	}
	ways := maps.Clone(*p.ways.Load())
	ways[cid] = v
	p.ways.Store(&ways)
	return v
}

// forgetWay needs Switch.mu. It has the way to a CID be found anew.
func (p *port) forgetWay(cid uint32) {
	if old := *p.ways.Load(); old[cid] != nil {
		ways := maps.Clone(old)
		delete(ways, cid)
		p.ways.Store(&ways)
	}
}

// forgetWays needs Switch.mu. It has all ways be found anew.
func (p *port) forgetWays() { p.ways.Store(&map[uint32]*way{}) }

func (p *port) backlogTo(to *port) *backlog {
	p.backlogMu.Lock()
	defer p.backlogMu.Unlock()
	b := p.backlogs[to]
	if b == nil {
		if p.backlogs == nil {
			p.backlogs = make(map[*port]*backlog)
		}
		b = &backlog{from: p, to: to}
		p.backlogs[to] = b
	}
	return b
}

// clearBacklogTo drops what waits for a port whose context has gone.
func (p *port) clearBacklogTo(to *port) {
	p.backlogMu.Lock()
	defer p.backlogMu.Unlock()
	if b := p.backlogs[to]; b != nil {
		b.clear()
	}
}

// forgetBacklogTo forgets a port that was unplugged, when no way leads to it any more.
func (p *port) forgetBacklogTo(to *port) {
	p.clearBacklogTo(to)
	p.backlogMu.Lock()
	defer p.backlogMu.Unlock()
	delete(p.backlogs, to)
}

// leave ends the connections of a port whose context has gone, for good or for now.
func (p *port) leave() { p.leaveAs(p.cid.Load()) }

// leaveAs ends those that were made under a CID.
func (p *port) leaveAs(cid uint32) {
	opened := make(map[uint32][]flow)
	all := 0
	for _, k := range p.flows.endAll(func(flow) bool { return true }) {
		opened[k.remote] = append(opened[k.remote], k)
		all++
	}
	for _, q := range *p.sw.routes.Load() {
		if q == p {
			continue
		}
		accepted := q.flows.endAll(func(k flow) bool { return k.remote == cid })
		all += len(accepted)
		if q.gone != nil {
			q.gone(cid)
			continue
		}
		q.clearBacklogTo(p)
		toldOf := opened[q.cid.Load()]
		q.forgiveTo(cid, len(toldOf)+len(accepted))
		for _, k := range toldOf {
			p.reset(q, resetOf(k, cid))
		}
		for _, k := range accepted {
			back := resetOf(k, q.cid.Load()).Reply(packet.OpReset)
			p.reset(q, &back)
		}
	}
	if p.fault != nil && all > 0 {
		p.grace.stopped(all)
	}
}

// resetOf is an RST from the end that opened a connection, whose CID is given.
func resetOf(k flow, cid uint32) *packet.Header {
	return &packet.Header{
		SrcCID: uint64(cid), SrcPort: k.port, DstCID: uint64(k.remote), DstPort: k.to,
		Type: packet.TypeStream, Op: packet.OpReset,
	}
}

// reset sends an RST from p to another, after what waits for that.
func (p *port) reset(to *port, h *packet.Header) {
	p.sw.tap(h)
	if p.gone == nil && to.gone == nil {
		p.backlogTo(to).reset(*h, math.MaxInt)
	} else {
		to.to.Take(&packet.Packet{Header: *h}, nil)
	}
}

// cut resets the connections that p opened to others, if the two may not connect to
// each other any more.
func (p *port) cut() {
	routes, policy, cid := *p.sw.routes.Load(), p.sw.policy.Load(), p.cid.Load()
	for _, k := range p.flows.endAll(func(k flow) bool {
		q := routes[k.remote]
		return q != nil && !policy.mayTalk(p.member(), q.member())
	}) {
		h := resetOf(k, cid)
		p.forgive(k)
		routes[k.remote].forgive(k.back(cid))
		p.reset(routes[k.remote], h)
		back := h.Reply(packet.OpReset)
		routes[k.remote].reset(p, &back)
	}
}
