package stack

import (
	"sync"
	"time"

	"vsockets.dev/internal/spin"
)

// deadline is a read or write deadline. mu guards it; the owner's signal is
// sent when it expires, to wake whoever waits.
type deadline struct {
	mu      *sync.Mutex
	sig     signal
	timer   *time.Timer
	expired bool
	gen     uint // tells the current timer from one that was stopped too late
}

// stop needs mu. It ends the timer, not what has expired.
func (d *deadline) stop() {
	d.gen++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// set needs mu. The zero time is no deadline.
func (d *deadline) set(t time.Time) {
	d.stop()
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		d.sig.send()
		return
	}
	gen := d.gen
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.gen == gen {
			d.expired = true
			d.sig.send()
		}
	})
}

// signal wakes one goroutine that waits on it, now or when it comes to wait.
// What it was sent for is to be looked up, under a lock, by the one it wakes.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) send() {
	select {
	case s <- struct{}{}:
		spin.Woke()
	default:
	}
}

// sent takes the signal, if it was sent.
func (s signal) sent() bool {
	select {
	case <-s:
		return true
	default:
		return false
	}
}
