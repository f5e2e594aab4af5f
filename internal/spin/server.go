package spin

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// server looks into the rings at which something came by a short time ago, for all of
// the program: one goroutine, so that many rings cost no more than one.
var server struct {
	mu     sync.Mutex
	joined []visit
	runs   bool
}

// wakes counts the goroutines of this program that were woken, see Woke.
var wakes atomic.Uint32

// visitsPerClock is how many looks into all rings are between two at the clock, when it gives
// way too. Who looks for others passes on from one process to another, and both look for that:
// it is one of three, and gives way more often than who looks for itself.
const visitsPerClock = 2

// Woke notes that a goroutine is woken that waits for what comes by a ring, so that it has
// its turn before more is looked for. To give it to nobody costs the waking of a thread.
func Woke() { wakes.Add(1) }

// visit is a ring that is looked into.
type visit struct {
	ring  Ring
	lease *Lease
	until time.Time
	found bool
}

// Linger has a ring be looked into at which something has come by, since more may come
// at once, until it is idle.
func Linger(r Ring) {
	l := r.Lease()
	if most(runtime.GOMAXPROCS(0)) == 0 || foreground.Load() > 0 || l.lingers.Swap(true) {
		return
	}
	if !l.wait.pays() {
		l.lingers.Store(false)
		return
	}
	r.Hold()
	server.mu.Lock()
	server.joined = append(server.joined, visit{ring: r, lease: l, until: time.Now().Add(budget)})
	runs := server.runs
	server.runs = true
	server.mu.Unlock()
	if !runs {
		go serve()
	}
}

// leave ends a visit.
func (v *visit) leave() {
	v.lease.lingers.Store(false)
	v.ring.Release()
}

// serve looks into all rings that join, until none is left.
func serve() {
	var visits []visit
	gave := false // since the last look at the clock, the runtime has run others
	for n := 1; ; n++ {
		if n%visitsPerClock == 0 || len(visits) == 0 {
			now := time.Now()
			var over bool
			gave = false
			if visits, over = review(visits, now, gaveWay(now) > crowded); over {
				return
			}
		}
		woken := wakes.Load()
		for i := range visits {
			if v := &visits[i]; v.ring.Poll() {
				v.found = true
			}
		}
		if !gave && wakes.Load() != woken {
			gave = true
			runtime.Gosched() // to whoever waited for that
		}
	}
}

// review lets those go that are idle, or all if the machine is busy, and adds those
// that have joined.
func review(visits []visit, now time.Time, busy bool) (_ []visit, over bool) {
	yield := foreground.Load() > 0
	kept := visits[:0]
	for _, v := range visits {
		switch {
		case busy:
			v.lease.wait.learn(false)
			v.leave()
			continue
		case v.found:
			v.lease.wait.learn(true)
			v.found, v.until = false, now.Add(budget)
		case now.After(v.until):
			v.lease.wait.learn(false)
			v.leave()
			continue
		}
		if yield {
			v.leave()
			continue
		}
		kept = append(kept, v)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	kept = append(kept, server.joined...)
	server.joined = server.joined[:0]
	if len(kept) == 0 {
		server.runs = false
	}
	return kept, len(kept) == 0
}
