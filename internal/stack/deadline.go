package stack

import (
	"sync"
	"time"

	"vsockets.dev/internal/spin"
)

// glances is how often one deadline is looked up by the clock before a timer is started for
// it: more than a short connection needs.
const glances = 8

// deadline is a read or write deadline, or that of an accept. mu guards it.
//
// To start and stop a timer takes longer than most calls on a socket do, and may wake a
// thread besides. So one is started only when someone goes to sleep, or when it has been
// asked often whether the deadline is over: until then the clock tells. The timer sends
// the owner's signal, which wakes one of those who sleep: who wakes passes it on.
type deadline struct {
	mu       *sync.Mutex
	sig      signal
	at       time.Time // zero: there is none
	expired  bool      // it has passed
	glanced  int       // at the clock, since it was set
	sleepers int
	timer    *time.Timer // nil: the clock tells
	gen      uint        // tells the current timer from one that was stopped too late
}

// stop needs mu. There is no deadline to come any more; one that has passed has passed.
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
	if !d.checkClock() && d.sleepers > 0 {
		d.start()
	}
}

// over needs mu. It says whether the deadline has passed.
func (d *deadline) over() bool {
	if d.expired || d.at.IsZero() || d.timer != nil {
		return d.expired
	}
	if d.glanced++; !d.checkClock() && d.glanced > glances {
		d.start()
	}
	return d.expired
}

// checkClock needs mu, and a deadline to come. It looks whether that has passed, and sends
// the signal then.
func (d *deadline) checkClock() bool {
	if time.Until(d.at) <= 0 {
		d.expired = true
		d.sig.send()
	}
	return d.expired
}

// start needs mu, a deadline to come, and that there is no timer.
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

// sleep returns when the signal is sent, by the deadline or by others. It wakes one: where
// several sleep, who wakes sends it again while there is cause.
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
