package spin

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// work keeps the processor for some time.
func work(d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
	}
}

// source has so many batches, each of which takes some time and makes a goroutine able to run.
type source struct {
	takes  time.Duration
	wakes  func(batch int32) bool // whether that is noted
	fitful bool                   // it is empty after each
	turns  Turns

	left, taken int32
	empty       bool
	wake        chan struct{}
	had         atomic.Int32 // batches that the goroutine had its turn for
	prompt      int          // batches that came after it had its turn for all before
}

func (s *source) Ready() bool { return s.left > 0 }

func (s *source) Turns() *Turns { return &s.turns }

func (s *source) TakeSome() bool {
	if s.left == 0 || s.empty {
		s.empty = false
		return false
	}
	if s.taken > 0 && s.had.Load() == s.taken {
		s.prompt++
	}
	work(s.takes)
	s.left--
	s.taken++
	s.empty = s.fitful
	s.wake <- struct{}{}
	if s.wakes(s.taken) {
		Woke()
	}
	return true
}

// TestBatches has one take batch after batch, with the only processor. Whom each wakes has its
// turn before the next, but for no more than half of the time.
func TestBatches(t *testing.T) {
	const (
		batches = 500
		batch   = 50 * time.Microsecond
	)
	always := func(int32) bool { return true }
	for name, tc := range map[string]struct {
		wakes       func(batch int32) bool
		fitful      bool
		turn, due   time.Duration
		least, most int // batches after a turn for all before
	}{
		// Half of them: the machine may be busy with something else during a turn, which then
		// counts as long.
		"short turns":             {always, false, 0, 0, batches / 2, batches},
		"short turns, fitful":     {always, true, 0, 0, batches / 2, batches},
		"long turns":              {always, false, 10 * batch, 0, batches / 50, batches / 5},
		"long turns, fitful":      {always, true, 10 * batch, 0, batches / 50, batches / 5},
		"nobody is woken":         {func(int32) bool { return false }, false, 0, 0, 0, batches / 10},
		"woken before one is due": {func(n int32) bool { return n == 1 }, false, 0, 10 * batch, 1, batches / 10},
	} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			s := &source{
				takes: batch, wakes: tc.wakes, fitful: tc.fitful, left: batches, wake: make(chan struct{}, batches),
			}
			s.turns.due.Store(int64(time.Since(epoch) + tc.due))
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range batches {
					<-s.wake
					if len(s.wake) == 0 {
						work(tc.turn)
					}
					s.had.Add(1)
				}
			}()
			runtime.Gosched() // to that one, so that it waits
			All(s)
			receive(t, done)
			if s.prompt < tc.least || s.prompt > tc.most {
				t.Errorf("it had its turn in time for %d of %d batches, want %d to %d", s.prompt, batches, tc.least, tc.most)
			}
		})
	}
}
