package packet

import (
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

type numbered int

func (numbered) Wake() {}

// TestWaiters holds it against a plain slice.
func TestWaiters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Waiters
		var model []Waker
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				k := numbered(rapid.IntRange(0, 9).Draw(t, "waker"))
				w.Add(k)
				if !slices.Contains(model, Waker(k)) {
					model = append(model, k)
				}
			} else {
				got := w.Pop()
				var want Waker
				if len(model) > 0 {
					want, model = model[0], model[1:]
				}
				if got != want {
					t.Fatalf("Pop: %v, want %v", got, want)
				}
			}
			if w.Len() != len(model) {
				t.Fatalf("Len: %d, want %d", w.Len(), len(model))
			}
		}
	})
}

// again comes to wait again when it is woken.
type again struct {
	w     *Waiters
	mu    *sync.Mutex
	woken int
}

func (a *again) Wake() {
	a.woken++
	a.mu.Lock()
	defer a.mu.Unlock()
	a.w.Add(a)
}

// TestWakeAll wakes each once, though all come to wait again.
func TestWakeAll(t *testing.T) {
	var w Waiters
	var mu sync.Mutex
	all := make([]again, 5)
	for i := range all {
		all[i] = again{w: &w, mu: &mu}
		w.Add(&all[i])
	}
	for round := 1; round <= 2; round++ {
		w.WakeAll(&mu)
		for i := range all {
			if all[i].woken != round {
				t.Errorf("round %d: number %d was woken %d times", round, i, all[i].woken)
			}
		}
	}
}

// TestWakeFew wakes many in turn, and none twice.
func TestWakeFew(t *testing.T) {
	var w Waiters
	var mu sync.Mutex
	all := make([]again, 2*few+1)
	for i := range all {
		all[i] = again{w: new(Waiters), mu: &mu}
		w.Add(&all[i])
	}
	for _, want := range []int{few, 2 * few, 2*few + 1, 2*few + 1} {
		w.WakeFew(&mu)
		for i := range all {
			if woken := all[i].woken == 1; woken != (i < want) {
				t.Errorf("number %d was woken %d times; it should be the first %d", i, all[i].woken, want)
			}
		}
	}
}
