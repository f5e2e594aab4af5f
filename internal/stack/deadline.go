package stack

import (
	"sync"
	"time"

	"vsockets.dev/internal/spin"
)

// glances is how often it is looked at the clock for a deadline until a timer is started.
const glances = 8

// deadline is a read or write deadline, or that of an accept. mu guards it.
//
// To start and stop a timer takes longer than most calls on a socket do, and may wake a
// thread besides. So there is one only while someone sleeps, who is woken by the owner's
// signal, and where it is asked often whether the deadline is over: else the clock tells.
type deadline struct {
	mu       *sync.Mutex
	sig      signal
	at       time.Time // zero: there is none
	expired  bool
	glanced  int // at the clock, since it was set
	sleepers int
	timer    *time.Timer
	gen      uint // tells the current timer from one that was stopped too late
}

// stop needs mu. It ends the timer, and that there is a deadline to come.
func (d *deadline) stop() {
	d.gen++
	d.at, d.glanced = time.Time{}, 0
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
	now := time.Now()
	d.at = now.Add(t.Sub(now)) // that the clock is set changes nothing any more
	if !d.passed() && d.sleepers > 0 {
		d.start()
	}
}

// over needs mu. It says whether the deadline has passed.
func (d *deadline) over() bool {
	if d.expired || d.at.IsZero() || d.timer != nil {
		return d.expired
	}
	if d.glanced++; d.glanced > glances {
		d.start()
	}
	return d.passed()
}

// passed needs mu. It looks at the clock, and wakes who sleeps if the deadline is over.
func (d *deadline) passed() bool {
	if !d.expired && time.Until(d.at) <= 0 {
		d.expired = true
		d.sig.send()
	}
	return d.expired
}

// start needs mu. It starts the timer.
func (d *deadline) start() {
	gen := d.gen
	d.timer = time.AfterFunc(time.Until(d.at), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.gen == gen {
			d.expired = true
			d.sig.send()
		}
	})
}

// sleep returns when the signal is sent, which the deadline does too.
func (d *deadline) sleep() {
	d.mu.Lock()
	if d.sleepers++; !d.at.IsZero() && !d.expired && d.timer == nil {
		d.start()
	}
	d.mu.Unlock()
	<-d.sig
	d.mu.Lock()
	d.sleepers--
	d.mu.Unlock()
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
