package vswitch

import (
	"sync"
	"time"

	"vsockets.dev/internal/packet"
)

// inFlight is how many packets of a connection may still come when it has ended: four times
// what the largest queue holds (virtqueue.MaxSize), since a guest goes on to fill it until
// it has looked at what came. graceTime is for how long: a machine that has others to run
// may take any time.
const (
	inFlight  = 4096
	graceTime = 5 * time.Second
)

// How many of each kind a context is forgiven for at a time: those that ended last.
const (
	graceFlows = 1024 // connections
	graceCIDs  = 256  // contexts that left
	graceBurst = 64   // connections that ended together, and are not told apart
)

// allowance is how many packets are no fault, and until when.
type allowance struct {
	packets int
	until   time.Time
}

// allow gives it for a number of packets more, graceBurst times inFlight at most.
func (a *allowance) allow(packets int, now time.Time) {
	if !now.Before(a.until) {
		a.packets = 0
	}
	a.packets = min(a.packets+packets, graceBurst*inFlight)
	a.until = now.Add(graceTime)
}

func (a *allowance) take(now time.Time) bool {
	if a == nil || a.packets == 0 || !now.Before(a.until) {
		return false
	}
	a.packets--
	return true
}

// grace is which packets of a context that are of no connection are no fault: they may be
// of one that another has just ended. Nothing else is forgiven for that. Each packet costs
// the context as much as one of a connection, so that it gains nothing by having
// connections be ended.
type grace struct {
	mu    sync.Mutex
	flows map[flow]*allowance   // of connections, as the context sees them
	last  []ended               // the same, the oldest first; from graceFlows on a ring
	next  int                   // the oldest of that ring
	cids  map[uint32]*allowance // of contexts that left
	all   allowance             // after the context itself stopped
	moved allowance             // after it got another CID
	was   uint32                // in place of that one
}

// ended is a connection that another ended.
type ended struct {
	flow flow
	*allowance
}

// flow is for a connection that another ended.
func (g *grace) flow(k flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flows == nil {
		g.flows = make(map[flow]*allowance)
	}
	e := ended{k, &allowance{inFlight, time.Now().Add(graceTime)}}
	if len(g.last) < graceFlows {
		g.last = append(g.last, e)
	} else {
		// Unless the same two ports have had another connection since.
		if old := g.last[g.next]; g.flows[old.flow] == old.allowance {
			delete(g.flows, old.flow)
		}
		g.last[g.next] = e
		g.next = (g.next + 1) % graceFlows
	}
	g.flows[k] = e.allowance
}

// cid is for so many packets to a context that left.
func (g *grace) cid(cid uint32, packets int) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.cids[cid]
	if a == nil {
		g.dropCID(now)
		if g.cids == nil {
			g.cids = make(map[uint32]*allowance)
		}
		a = new(allowance)
		g.cids[cid] = a
	}
	a.allow(packets, now)
}

// dropCID needs mu. It makes room for one more, at the cost of any one if need be.
func (g *grace) dropCID(now time.Time) {
	if len(g.cids) < graceCIDs {
		return
	}
	var one uint32
	for cid, a := range g.cids {
		if one = cid; !now.Before(a.until) {
			delete(g.cids, cid)
		}
	}
	if len(g.cids) >= graceCIDs {
		delete(g.cids, one)
	}
}

// stopped is for a context that has stopped with so many connections. If it goes on, it
// takes them for open.
func (g *grace) stopped(connections int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all.allow(min(connections, graceBurst)*inFlight, time.Now())
}

// renamed is for a context that does not know yet that it has another CID.
func (g *grace) renamed(was uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.was, g.moved = was, allowance{}
	g.moved.allow(inFlight, time.Now())
}

// forgives says whether a packet of no connection is no fault.
func (g *grace) forgives(h *packet.Header) bool {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flows[outbound(h)].take(now) || g.cids[uint32(h.DstCID)].take(now) || g.all.take(now)
}

// forgivesName says whether a packet with another's CID is no fault.
func (g *grace) forgivesName(h *packet.Header) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return h.SrcCID == uint64(g.was) && g.moved.take(time.Now())
}
