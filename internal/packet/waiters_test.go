package packet

import (
	"slices"
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
