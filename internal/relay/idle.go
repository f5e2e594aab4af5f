package relay

import (
	"sync"
	"time"
)

// idleTicks is how often an idle timeout looks whether something has moved: the
// timeout is exact to its part of it.
const idleTicks = 4

// watch fails the run when nothing has moved for so long.
func (r *run) watch(idle time.Duration) (stop func()) {
	var (
		mu    sync.Mutex
		timer *time.Timer
		over  bool
		last  uint64
		quiet int
		every = max(idle/idleTicks, 1)
	)
	tick := func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		quiet++
		if now := r.moved.Load(); now != last {
			last, quiet = now, 0
		}
		if quiet == idleTicks {
			r.fail(ErrIdle)
			return
		}
		timer.Reset(every)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(every, tick)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}
