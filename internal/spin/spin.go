// Package spin looks for something for a short time before one goes to sleep.
//
// To wake a goroutine whose thread sleeps takes longer than most answers do. So who
// waits looks for a while itself for what it waits for, if that pays: how long is
// learnt from the waits before. What is idle spins once for each wait, and then never.
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

	looksPerClock = 8 // reading the clock takes as long as some looks
)

// Goroutines that spin in this program: those that wait for something themselves, and
// those that do it for others, who stop when one of the first begins.
var foreground, background atomic.Int32

// most is how many of either may spin. They take processors from those that work, so
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
	for n := 0; ; n++ {
		found := look()
		if done() {
			w.budget = min(2*w.budget, longest)
			return true
		}
		if !found && n%looksPerClock == 0 && time.Now().After(until) {
			w.budget /= 2
			return false
		}
	}
}

// ForOthers looks until it finds something, and then says true, until the time is
// up, or until someone spins who waits himself.
func (w *Wait) ForOthers(look func() bool) bool {
	if !w.pays() {
		return false
	}
	defer background.Add(-1)
	if background.Add(1) > most() {
		return false
	}
	until := time.Now().Add(w.budget)
	for n := 0; foreground.Load() == 0; n++ {
		if look() {
			w.budget = min(2*w.budget, longest)
			return true
		}
		if n%looksPerClock == 0 && time.Now().After(until) {
			w.budget /= 2
			return false
		}
	}
	return false
}

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
