package spin

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allowed is how many may spin.
func allowed() int32 { return most(runtime.GOMAXPROCS(0)) }

// needTwo skips where nobody may spin.
func needTwo(t *testing.T) {
	t.Helper()
	if allowed() == 0 {
		t.Skip("one processor: nobody spins")
	}
}

func never() bool { return false }

func TestFor(t *testing.T) {
	needTwo(t)
	var w Wait
	for range 1000 { // the machine may be busy with something else just then
		r := newRing(0)
		if w.For(func() bool { return r.polls.Load() == 10 }, r, false) {
			if w.skips != 0 {
				t.Errorf("%d are skipped after a wait that paid", w.skips)
			}
			return
		}
	}
	t.Error("what came was not found")
}

// TestForInVain has nothing come: it is tried less and less often.
func TestForInVain(t *testing.T) {
	needTwo(t)
	var w Wait
	tried := 0
	for range 100 {
		r := newRing(0)
		if w.For(never, r, false) {
			t.Fatal("what did not come was found")
		}
		if r.polls.Load() > 0 {
			tried++
			receive(t, r.released)
		}
	}
	if tried < 6 || tried > 8 {
		t.Errorf("tried %d times in 100", tried)
	}
	for range mostSkips + 1 {
		w.For(func() bool { return true }, newRing(0), false)
	}
	if w.skips != 0 {
		t.Error("it is not taken up again when it pays")
	}
}

func TestMost(t *testing.T) {
	for procs, want := range map[int]int32{1: 0, 2: 2, 3: 2, 4: 2, 5: 2, 6: 3, 64: 32} {
		if got := most(procs); got != want {
			t.Errorf("%d processors: %d may spin, want %d", procs, got, want)
		}
	}
}

// TestForCrowded has as many spin as may.
func TestForCrowded(t *testing.T) {
	needTwo(t)
	foreground.Add(allowed())
	defer foreground.Add(-allowed())
	var w Wait
	if w.For(func() bool { return true }, newRing(0), false) {
		t.Error("one more spins")
	}
}

// TestForOther has one more wait at a ring that someone looks into, and at another one. It is
// woken by who looks, for as long as that one does.
func TestForOther(t *testing.T) {
	needTwo(t)
	foreground.Add(allowed() - 1)
	defer foreground.Add(1 - allowed())
	for name, own := range map[string]bool{"the same": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			r := newRing(0)
			other := r
			if !own {
				other = newRing(0)
				other.lease.use(other)
			}
			var w, more Wait
			asked := false
			for !w.For(func() bool { // the machine may be busy with something else just then
				if !asked && more.For(never, other, false) {
					t.Error("one more spins")
				}
				asked = true
				if released := len(other.released) > 0; released == own {
					t.Errorf("the ring is released: %v", released)
				}
				return true
			}, r, false) {
			}
			if own {
				receive(t, r.released)
			}
			if n := other.held.Load(); n != 0 {
				t.Errorf("the ring is held %d times", n)
			}
		})
	}
}

// ring is a Ring at which something comes by a number of times.
type ring struct {
	held     atomic.Int32
	released chan struct{}
	left     atomic.Int32
	polls    atomic.Int32
	lease    Lease
}

func newRing(left int32) *ring {
	r := &ring{released: make(chan struct{}, 8)}
	r.left.Store(left)
	return r
}

func (r *ring) Lease() *Lease { return &r.lease }

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
	for range 1000 { // the machine may be busy with something else just then
		rings := []*ring{newRing(0), newRing(1), newRing(100)}
		for _, r := range rings {
			Linger(r)
		}
		whole := true
		for _, r := range rings {
			if r.held.Load() > 0 || r.polls.Load() > 0 {
				receive(t, r.released)
			}
			whole = whole && r.left.Load() < 0
		}
		served(t)
		if !whole {
			continue
		}
		if rings[0].lease.wait.skips == 0 {
			t.Error("nothing is skipped after an idle ring")
		}
		return
	}
	t.Error("what came was never taken up")
}

// served waits for the end of the server.
func served(t *testing.T) {
	t.Helper()
	for {
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
	Linger(r)
	for r.polls.Load() == 0 {
		runtime.Gosched()
	}
	foreground.Add(1)
	defer foreground.Add(-1)
	receive(t, r.released)
	other := newRing(1)
	Linger(other)
	if other.held.Load() != 0 {
		t.Error("another is begun")
	}
}

// TestLease has a ring that is looked into again and again be held once, until that ends.
func TestLease(t *testing.T) {
	needTwo(t)
	r := newRing(0)
	for range 100 {
		r.lease.use(r)
		if n := r.held.Load(); n < 0 || n > 1 {
			t.Fatalf("held %d times", n)
		}
	}
	receive(t, r.released)
	for r.held.Load() != 0 {
		runtime.Gosched()
	}
}

// counted is a Ring that must not be released before it is held.
type counted struct {
	ring
	bad atomic.Bool
}

func (r *counted) Hold() {
	runtime.Gosched() // whoever would be faster
	r.held.Add(1)
}

func (r *counted) Release() {
	if r.held.Add(-1) < 0 {
		r.bad.Store(true)
	}
}

// TestLeaseRaces has some look into a ring while others go to sleep on it.
func TestLeaseRaces(t *testing.T) {
	needTwo(t)
	var r counted
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20000 {
				r.lease.use(&r)
				r.lease.drop(&r)
			}
		})
	}
	all.Wait()
	if r.bad.Load() || r.held.Load() != 0 {
		t.Errorf("released before it was held: %v; held %d times in the end", r.bad.Load(), r.held.Load())
	}
}

// firstPoll is a ring that notes when it is looked into first.
type firstPoll struct {
	*ring
	at time.Time
}

func (r *firstPoll) Poll() bool {
	if r.at.IsZero() {
		r.at = time.Now()
	}
	return r.ring.Poll()
}

// TestForTrickles has what trickles come together before it is looked for.
func TestForTrickles(t *testing.T) {
	needTwo(t)
	var w Wait
	r := &firstPoll{ring: newRing(1)}
	begun := time.Now()
	w.For(func() bool { return r.left.Load() < 1 }, r, true)
	if d := r.at.Sub(begun); d < gather {
		t.Errorf("looked for after %v, want %v", d, gather)
	}
}

// TestForDoneOnce has what is waited for be there at once, which is told once, as by a signal.
func TestForDoneOnce(t *testing.T) {
	needTwo(t)
	for _, trickles := range []bool{false, true} {
		var w Wait
		told := false
		if !w.For(func() bool { was := told; told = true; return !was }, newRing(0), trickles) {
			t.Errorf("trickles %v: it is waited for what has been told", trickles)
		}
	}
}
