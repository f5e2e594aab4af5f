package spin

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needTwo skips where nobody may spin.
func needTwo(t *testing.T) {
	t.Helper()
	if most() == 0 {
		t.Skip("one processor: nobody spins")
	}
}

func never() bool { return false }

func TestFor(t *testing.T) {
	needTwo(t)
	var w Wait
	for range 1000 { // the machine may be busy with something else just then
		looks := 0
		if w.For(func() bool { return looks == 10 }, func() bool { looks++; return false }) {
			if w.budget < shortest {
				t.Errorf("the budget is %v after a wait that paid", w.budget)
			}
			return
		}
	}
	t.Error("what came was not found")
}

// TestForInVain has nothing come: the budget shrinks until it is not tried any more,
// but now and then.
func TestForInVain(t *testing.T) {
	needTwo(t)
	var w Wait
	tried := 0
	for range 100 {
		looked := false
		if w.For(never, func() bool { looked = true; return false }) {
			t.Fatal("what did not come was found")
		}
		if looked {
			tried++
		}
	}
	if tried < 6 || tried > 15 {
		t.Errorf("tried %d times in 100", tried)
	}
	for range 2 * retry {
		w.For(func() bool { return true }, never)
	}
	if w.budget <= shortest {
		t.Error("it is not taken up again when it pays")
	}
}

// TestForCrowded has as many spin as may.
func TestForCrowded(t *testing.T) {
	needTwo(t)
	foreground.Add(most())
	defer foreground.Add(-most())
	var w Wait
	if w.For(func() bool { return true }, never) {
		t.Error("one more spins")
	}
}

// ring is a Ring at which something comes by a number of times.
type ring struct {
	held     atomic.Int32
	released chan struct{}
	left     atomic.Int32
	polls    atomic.Int32
}

func newRing(left int32) *ring {
	r := &ring{released: make(chan struct{}, 8)}
	r.left.Store(left)
	return r
}

func (r *ring) Hold()    { r.held.Add(1) }
func (r *ring) Release() { r.held.Add(-1); r.released <- struct{}{} }
func (r *ring) Poll() bool {
	r.polls.Add(1)
	return r.left.Add(-1) >= 0
}

func receive(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("a ring is never released")
	}
}

// TestLinger has several rings be looked into, each until it is idle.
func TestLinger(t *testing.T) {
	needTwo(t)
	rings := []*ring{newRing(0), newRing(1), newRing(1000)}
	waits := make([]Wait, len(rings))
	for i, r := range rings {
		Linger(r, &waits[i])
	}
	for _, r := range rings {
		receive(t, r.released)
		if r.held.Load() != 0 || r.left.Load() >= 0 || r.polls.Load() == 0 {
			t.Errorf("held %d, %d left, %d polls", r.held.Load(), r.left.Load(), r.polls.Load())
		}
	}
	if waits[0].budget >= longest {
		t.Errorf("the budget of an idle ring is %v", waits[0].budget)
	}
	for { // the server ends, too
		server.mu.Lock()
		runs := server.runs
		server.mu.Unlock()
		if !runs {
			return
		}
		runtime.Gosched()
	}
}

// TestLingerYields has someone spin for himself.
func TestLingerYields(t *testing.T) {
	needTwo(t)
	r := newRing(1 << 30)
	var w Wait
	Linger(r, &w)
	for r.polls.Load() == 0 {
		runtime.Gosched()
	}
	foreground.Add(1)
	defer foreground.Add(-1)
	receive(t, r.released)
	other := newRing(1)
	Linger(other, &w)
	if other.held.Load() != 0 {
		t.Error("another is begun")
	}
}
