package spin

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Ring is where something comes by that goroutines wait for.
type Ring interface {
	// Hold begins a time in which Poll is called over and over: nobody need be woken
	// for what comes. Release ends it, and sees to what came meanwhile.
	Hold()
	Release()

	// Poll takes up some of what has come, and says whether that was anything.
	Poll() bool

	// Lease gives the ring's own, always the same one.
	Lease() *Lease
}

// BatchBytes is about how much one Poll takes up at most. A Recv that waits has room for
// so much, as a rule: it goes on with that, and what is taken only then need not be
// copied twice.
const BatchBytes = 64 << 10

// leaseTime is how long a ring stays held after someone has looked into it, who is
// likely to come back: to hold and release it each time would have the other side
// wake us each time. What comes and is not looked for waits as long, twice at most.
const leaseTime = 100 * time.Microsecond

// Lease is what keeps a ring held. The zero value is ready to use.
type Lease struct {
	uses atomic.Uint32
	seen uint32 // of uses, by the keeper

	mu   sync.Mutex  // of what changes held: no release comes before its hold
	held atomic.Bool // written under mu

	lookers atomic.Int32 // those who look into it themselves, just now
	relied  atomic.Bool  // someone sleeps whom they are to wake

	lingers atomic.Bool // the server looks into it, and uses wait
	wait    Wait
}

// use holds the ring for some time, if it is not held already. Nothing but speed
// depends on it.
func (l *Lease) use(r Ring) {
	l.uses.Add(1)
	if !l.held.Load() && l.hold(r) {
		keep(l, r)
	}
}

func (l *Lease) hold(r Ring) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.Load() {
		return false
	}
	r.Hold()
	l.held.Store(true)
	return true
}

// sleep is called by who goes to sleep and is to be woken: by those who look into the ring
// just now, or else by the other side.
func (l *Lease) sleep(r Ring) {
	if l.lookers.Load() > 0 {
		l.relied.Store(true)
		if l.lookers.Load() > 0 { // the last of them sees it when it stops
			return
		}
	}
	l.drop(r)
}

// left is called by who does not look any more. It may soon again, but not for others.
func (l *Lease) left(r Ring) {
	if l.lookers.Add(-1) == 0 && l.relied.Swap(false) {
		l.drop(r)
	}
}

// drop releases the ring: its lease is over, or someone goes to sleep who is to be
// woken.
func (l *Lease) drop(r Ring) {
	if !l.held.Load() {
		return
	}
	l.mu.Lock()
	held := l.held.Swap(false)
	l.mu.Unlock()
	if held {
		r.Release()
	}
}

// keeper releases the rings whose leases are over, in one goroutine.
var keeper struct {
	mu    sync.Mutex
	rings map[*Lease]Ring
	runs  bool
}

func keep(l *Lease, r Ring) {
	keeper.mu.Lock()
	defer keeper.mu.Unlock()
	if keeper.rings == nil {
		keeper.rings = make(map[*Lease]Ring)
	}
	keeper.rings[l] = r
	if !keeper.runs {
		keeper.runs = true
		go keepAll()
	}
}

// keepAll releases rings until none is held.
func keepAll() {
	for more := true; more; more = keepSome() {
		time.Sleep(leaseTime)
	}
}

// keepSome releases the rings that nobody has looked into since the last time.
func keepSome() (more bool) {
	over := make(map[*Lease]Ring)
	keeper.mu.Lock()
	for l, r := range keeper.rings {
		switch uses := l.uses.Load(); {
		case !l.held.Load():
			delete(keeper.rings, l)
		case uses != l.seen:
			l.seen = uses
		default:
			delete(keeper.rings, l)
			over[l] = r
		}
	}
	keeper.runs = len(keeper.rings) > 0
	more = keeper.runs
	keeper.mu.Unlock()
	for l, r := range over {
		l.drop(r)
	}
	return more
}
