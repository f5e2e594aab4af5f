package spin

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Source is a ring that something is left in.
type Source interface {
	// Ready says whether there is something, and asks the other side for a signal if not.
	Ready() bool

	// TakeSome takes a batch, and says whether there was one.
	TakeSome() bool

	// Turns gives the ring's own, always the same one.
	Turns() *Turns
}

// All takes all that there is.
func All(s Source) {
	for s.Ready() {
		Batches(s)
	}
}

// Batches takes one batch after another, until there is none. Who is woken meanwhile has its turn
// before the next: it is there again with its buffer when more comes for it, which would else be
// copied twice, and may itself look for what the caller takes.
func Batches(s Source) {
	woken := wakes.Load()
	for s.TakeSome() {
		if now := wakes.Load(); now != woken && s.Turns().give() {
			woken = now
		}
	}
}

// Turns is what a ring's batches give to others. All that can run have their turn then, not only
// those that were woken. So that they do not keep what is in the ring from those it is for, turns
// take half of the time, about, and no more, however often the ring is empty in between. The zero
// value is ready to use.
type Turns struct {
	due atomic.Int64 // the next, ns after epoch at the earliest
}

var epoch = time.Now()

// give gives a turn, and says whether one was due.
func (t *Turns) give() bool {
	begun := time.Since(epoch)
	if begun < time.Duration(t.due.Load()) {
		return false
	}
	runtime.Gosched()
	ended := time.Since(epoch)
	t.due.Store(int64(ended + (ended - begun)))
	return true
}
