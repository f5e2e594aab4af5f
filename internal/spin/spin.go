// Package spin looks for something for a short time before one goes to sleep.
//
// To wake a goroutine whose thread sleeps takes longer than most answers do. So who
// waits looks for a while itself for what it waits for, if that pays, which is learnt
// from the waits before. What is idle spins once for each wait, and then less and less;
// and whoever spins gives way to all others who have something to do.
package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// budget is for how long one looks, after the first looksPerClock looks. It is several
	// times what it costs to be woken, so that one who looks finds what another does who is
	// woken for it, and one more behind that: it takes 5 to 100 µs, the more the busier the
	// machine's neighbours are. Whoever sleeps has the other side wait as long, which then
	// looks in vain and sleeps too.
	budget = 400 * time.Microsecond

	// mostSkips is how many waits are not looked for at most, after others in vain.
	mostSkips = 63

	// gather is for how long more of what trickles in comes together before it is looked for.
	// It is about what an answer takes, and ten small writes.
	gather = 4 * time.Microsecond

	// looksPerClock is how many looks are between two at the clock: reading it takes as long as
	// some looks, and so does giving way. Where another has run meanwhile, which takes longer
	// than shared, it is sharedLooks: that one is likely to have more to do.
	looksPerClock = 8
	sharedLooks   = 2
	shared        = 2 * time.Microsecond

	// crowded is how long the others may take that one gives way to. Where they take
	// longer, who sleeps is served before who spins.
	crowded = time.Millisecond
)

// foreground is how many goroutines spin in this program that wait for something
// themselves. The one that does it for others stops when there is one, see Linger.
var foreground atomic.Int32

// most is how many of them may spin where there are so many processors. They take them from
// those that work, so half is what they get, but two at least: one who sleeps has a thread be
// woken, which takes a processor just as well. With one processor, nobody spins.
func most(procs int) int32 {
	if procs < 2 {
		return 0
	}
	return int32(max(2, procs/2))
}

// Wait is what is known of one kind of wait: after one in vain some are skipped, and
// after the next twice as many. Its user locks it. The zero value is ready to use.
type Wait struct {
	skips int // how many are to be skipped after one in vain
	left  int // and how many of those are left
}

// For looks into a ring until done, which says so once, and then says true, or until the
// time is up. Then the caller sleeps, and will be woken. What trickles, of which some came
// just now and it was little, has a moment to come together first: to take it is then less
// work for both sides.
func (w *Wait) For(done func() bool, r Ring, trickles bool) bool {
	if w.pays() && w.look(done, r, trickles) {
		return true
	}
	r.Lease().sleep(r)
	return false
}

// look looks if there is a processor for it, and learns from that.
func (w *Wait) look(done func() bool, r Ring, trickles bool) bool {
	defer foreground.Add(-1)
	n, procs := foreground.Add(1), runtime.GOMAXPROCS(0)
	switch {
	case n > most(procs):
		return false
	case int(n) < procs:
		found := lookFor(done, r, trickles, false)
		w.learn(found)
		return found
	case last.pays():
		found := lookFor(done, r, trickles, true)
		last.learn(found)
		return found
	}
	return false
}

// lookFor looks. Who has the last processor shares it with all goroutines that can run.
func lookFor(done func() bool, r Ring, trickles, shares bool) bool {
	l := r.Lease()
	l.lookers.Add(1)
	defer l.left(r)
	l.use(r)
	if shares && bells() {
		runtime.Gosched()
	}
	if trickles && gathered(done) {
		return true
	}
	var until time.Time // is set when the clock is first read: most looks end before
	if shares {
		until = time.Now().Add(lastBudget) // others have their turn before the first look at it
	}
	next := looksPerClock
	for n := 1; ; n++ {
		woken := wakes.Load()
		found := r.Poll()
		if done() {
			return true
		}
		clock := n == next
		if clock && shares {
			bells()
		}
		if clock && shares || found && wakes.Load() != woken {
			runtime.Gosched() // to whoever waited for that
		}
		if !clock {
			continue
		}
		now := time.Now()
		if until.IsZero() {
			until = now.Add(budget)
		}
		took := gaveWay(now)
		if now.After(until) || took > crowded {
			return done() // while others had their turn
		}
		if next += looksPerClock; took > shared {
			next = n + sharedLooks
		}
	}
}

// gathered waits while more comes together, and says whether the wait is over already.
func gathered(done func() bool) bool {
	for begun := time.Now(); time.Since(begun) < gather; {
		if done() {
			return true
		}
	}
	return false
}

// gaveWay gives way, and tells how long that took.
func gaveWay(now time.Time) time.Duration {
	giveWay()
	return time.Since(now)
}

// learn notes how a wait went for which it was looked.
func (w *Wait) learn(found bool) {
	if found {
		w.skips = 0
		return
	}
	w.skips = min(2*w.skips+1, mostSkips)
	w.left = w.skips
}

// pays says whether to look for this wait.
func (w *Wait) pays() bool {
	if w.left > 0 {
		w.left--
		return false
	}
	return true
}
