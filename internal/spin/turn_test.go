package spin

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// keepBusy leaves the test one of two processors.
func keepBusy(t *testing.T) {
	procs := runtime.GOMAXPROCS(2)
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
		}
	}()
	t.Cleanup(func() {
		stop.Store(true)
		runtime.GOMAXPROCS(procs)
	})
}

// wakers is a ring at which something comes by all the time; the first of it is what a
// goroutine waits for.
type wakers struct {
	*ring
	silent bool // nobody is told that one is woken
	woken  chan struct{}
	once   sync.Once
	over   atomic.Bool
}

func (r *wakers) Poll() bool {
	r.once.Do(func() {
		close(r.woken)
		if !r.silent {
			Woke()
		}
	})
	r.polls.Add(1)
	return !r.over.Load()
}

// TestLingerGivesTurn has the one who looks for others wake a goroutine while all other
// processors are busy: it has its turn at once, though there is no end of what comes.
func TestLingerGivesTurn(t *testing.T) {
	needTwo(t)
	keepBusy(t)
	const most = 1000 // in the 10 ms that a goroutine has its processor for, there are many more
	for range 20 {    // the machine may be busy with something else just then
		r := &wakers{ring: newRing(0), woken: make(chan struct{})}
		looks := make(chan int32)
		go func() {
			<-r.woken
			looks <- r.polls.Load()
		}()
		runtime.Gosched() // to that one, so that it waits
		Linger(r)
		n := <-looks
		r.over.Store(true)
		receive(t, r.released)
		served(t)
		if n < most {
			return
		}
	}
	t.Errorf("it never had its turn within %d looks", most)
}

// TestForGivesTurn has the one who looks wake a goroutine while all other processors are busy:
// it has its turn before the look is over. So has one that is woken by something else, if one
// more looks already.
func TestForGivesTurn(t *testing.T) {
	needTwo(t)
	for name, silent := range map[string]bool{"to who is woken": false, "to whoever can run": true} {
		t.Run(name, func(t *testing.T) {
			keepBusy(t)
			if silent {
				foreground.Add(1)
				defer foreground.Add(-1)
			}
			// The processor that is busy changes hands every 10 ms, in 1 of 25 looks: so must
			// more have the turn here.
			const tries, least = 100, 15
			turns := 0
			for range tries {
				r := &wakers{ring: newRing(0), silent: silent, woken: make(chan struct{})}
				var had atomic.Bool
				ended := make(chan struct{})
				go func() {
					<-r.woken
					had.Store(true)
					close(ended)
				}()
				runtime.Gosched() // to that one, so that it waits
				var w Wait
				w.For(had.Load, r, false)
				if had.Load() {
					turns++
				}
				r.Poll() // if it was refused
				<-ended
			}
			if turns < least {
				t.Errorf("a turn in %d of %d looks", turns, tries)
			}
		})
	}
}

// TestForLeavesLast has one after another look who has the last processor. It is left to the
// runtime once in a while, and soon if looking does not pay.
func TestForLeavesLast(t *testing.T) {
	needTwo(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for name, tc := range map[string]struct {
		others int32
		done   func() bool
		want   int // looks, of 130 waits
	}{
		"the first, in vain": {0, never, 130},
		"the last, found":    {1, func() bool { return true }, 128},
		"the last, in vain":  {1, never, 7}, // between which 1, 3, 7, 15, 31 and 63 waits are left out
	} {
		t.Run(name, func(t *testing.T) {
			foreground.Add(tc.others)
			defer foreground.Add(-tc.others)
			last.row, last.wait = 0, Wait{}
			looks := 0
			for range 2 * (lastRow + 1) {
				r := newRing(0)
				var w Wait // which is none the wiser
				if found := w.For(tc.done, r, false); found != (r.polls.Load() > 0 && tc.done()) {
					t.Errorf("found: %v", found)
				}
				if r.polls.Load() > 0 {
					looks++
				}
			}
			if looks != tc.want {
				t.Errorf("%d looks, want %d", looks, tc.want)
			}
		})
	}
}
