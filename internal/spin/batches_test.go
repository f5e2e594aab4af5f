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

// source has so many batches, each of which takes some time and wakes a goroutine.
type source struct {
	left  int
	takes time.Duration
	wake  chan struct{}
	turns atomic.Int32 // of that one

	taken  int32
	prompt int // batches that came after it had its turn for all before
}

func (s *source) Ready() bool { return s.left > 0 }

func (s *source) TakeSome() bool {
	if s.left == 0 {
		return false
	}
	if s.turns.Load() == s.taken {
		s.prompt++
	}
	work(s.takes)
	s.left--
	s.taken++
	s.wake <- struct{}{}
	Woke()
	return true
}

// TestBatches has one take batch after batch, with the only processor. Whom each wakes has its
// turn before the next, but for no more than half of the time.
func TestBatches(t *testing.T) {
	const (
		batches = 500
		batch   = 50 * time.Microsecond
	)
	for name, tc := range map[string]struct {
		turn        time.Duration
		least, most int // batches after a turn for all before
	}{
		// Half of them: the machine may be busy with something else during a turn, which then
		// counts as long.
		"short turns": {0, batches / 2, batches},
		"long turns":  {10 * batch, 1, batches / 5},
	} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			s := &source{left: batches, takes: batch, wake: make(chan struct{}, batches)}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range batches {
					<-s.wake
					if len(s.wake) == 0 {
						work(tc.turn)
					}
					s.turns.Add(1)
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
