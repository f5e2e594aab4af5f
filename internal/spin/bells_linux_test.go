package spin

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"vsockets.dev/internal/eventfd"
)

// TestForLooksForSignals has one processor be kept by one that finds all it looks for, and the
// last by another that looks: signals are seen meanwhile.
func TestForLooksForSignals(t *testing.T) {
	needTwo(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	foreground.Add(1)
	defer foreground.Add(-1)
	e, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	var due, done atomic.Int32
	var all sync.WaitGroup
	defer all.Wait()
	defer e.Interrupt()
	all.Go(func() { e.Serve(func() bool { return due.Load() > done.Load() }, func() { done.Add(1) }) })
	var over atomic.Bool
	defer over.Store(true)
	all.Go(func() {
		for !over.Load() {
		}
	})
	const tries = 200
	looked, seen := 0, 0
	for range tries {
		due.Store(done.Load() + 1)
		if err := e.Signal(); err != nil {
			t.Fatal(err)
		}
		last.row, last.wait = 0, Wait{}
		r := newRing(0)
		var w Wait
		if w.For(func() bool { return done.Load() == due.Load() }, r, false) {
			seen++
		}
		if r.polls.Load() > 0 {
			looked++
		}
	}
	if looked < tries/4 || seen < looked/4 { // it is 1 in 100 without
		t.Errorf("%d of %d signals are seen by who looks while others keep the processors, of %d", seen, looked, tries)
	}
}
