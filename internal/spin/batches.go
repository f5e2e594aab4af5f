package spin

import (
	"runtime"
	"time"
)

// A Source is a ring that something is left in.
type Source interface {
	// Ready says whether there is something, and asks the other side for a signal if not.
	Ready() bool

	// TakeSome takes a batch, and says whether there was one.
	TakeSome() bool
}

// All takes all that there is.
func All(s Source) {
	for s.Ready() {
		Batches(s)
	}
}

// Batches takes one batch after another, until there is none. Who is woken by one has its turn
// before the next: it is there again with its buffer when more comes for it, which would else be
// copied twice, and may itself look for what the caller takes.
//
// All others that can run have their turn then too. So that these do not keep what is taken here
// from those it is for, turns take half of the time, about, and no more.
func Batches(s Source) {
	woken := wakes.Load()
	var due time.Time // the next turn, at the earliest
	for s.TakeSome() {
		if wakes.Load() == woken {
			continue
		}
		begun := time.Now()
		if begun.Before(due) {
			continue
		}
		woken = wakes.Load()
		runtime.Gosched()
		ended := time.Now()
		due = ended.Add(ended.Sub(begun))
	}
}
