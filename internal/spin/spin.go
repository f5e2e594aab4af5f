// Package spin looks for something for a short time before one goes to sleep.
//
// To wake a goroutine whose thread sleeps takes longer than most answers do. So who
// waits looks for a while itself for what it waits for, if that pays: how long is
// learnt from the waits before. What is idle spins once for each wait, and then never;
// and whoever spins gives way to all others who have something to do.
package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	longest  = 50 * time.Microsecond // about what it costs to sleep and be woken
	shortest = 2 * time.Microsecond
	retry    = 16 // after as many waits without, it is tried again whether it pays now

	looksPerClock = 8 // reading the clock takes as long as some looks, and so does giving way
)

// foreground is how many goroutines spin in this program that wait for something
// themselves. Those that do it for others stop when there is one, see Server.
var foreground atomic.Int32

// most is how many of them may spin. They take processors from those that work, so
// half of the processors is what they get.
func most() int32 { return int32(runtime.GOMAXPROCS(0) / 2) }

// Wait is what is known of one kind of wait. Its user locks it. The zero value is
// ready to use.
type Wait struct {
	budget  time.Duration // 0: not known yet; below shortest: it does not pay
	skipped int
}

// For looks until done, and then says true, or until the time is up. Look says
// whether it found something, even if that was not it.
func (w *Wait) For(done, look func() bool) bool {
	if !w.pays() {
		return false
	}
	defer foreground.Add(-1)
	if foreground.Add(1) > most() {
		return false
	}
	until := time.Now().Add(w.budget)
	for n := 1; ; n++ {
		found := look()
		if done() {
			w.paid()
			return true
		}
		if found {
			runtime.Gosched() // it was someone else's
		} else if n%looksPerClock == 0 {
			if time.Now().After(until) {
				w.failed()
				return false
			}
			giveWay()
		}
	}
}

// paid and failed note how a wait went for which it was looked.
func (w *Wait) paid()   { w.budget = min(2*w.budget, longest) }
func (w *Wait) failed() { w.budget /= 2 }

// pays says whether to spin for this wait.
func (w *Wait) pays() bool {
	if w.budget == 0 && w.skipped == 0 {
		w.budget = longest
	}
	if w.budget >= shortest {
		return true
	}
	if w.skipped++; w.skipped%retry != 0 {
		return false
	}
	w.budget = shortest
	return true
}
