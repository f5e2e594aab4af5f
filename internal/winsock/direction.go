package winsock

import (
	"sync"
	"time"
)

// A direction is what ends the calls that receive, or those that send: a deadline, or
// Shutdown.
type direction struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{} // closed when the deadline passes
	shut   chan struct{} // closed by Shutdown
	over   bool          // shut is closed
}

func newDirection() direction {
	return direction{passed: make(chan struct{}), shut: make(chan struct{})}
}

// deadline is closed when the deadline of now passes. Who waits for it already is
// ended by a later deadline, too.
func (d *direction) deadline() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// set sets the deadline. The zero time is none.
func (d *direction) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // the timer was too fast: let it end, so that it ends nothing later
	}
	d.timer = nil
	passed := isClosed(d.passed)
	if !t.IsZero() && !t.After(time.Now()) {
		if !passed {
			close(d.passed)
		}
		return
	}
	if passed {
		d.passed = make(chan struct{})
	}
	if !t.IsZero() {
		ch := d.passed
		d.timer = time.AfterFunc(time.Until(t), func() { close(ch) })
	}
}

// shutdown ends the direction for good.
func (d *direction) shutdown() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.over = true
		close(d.shut)
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
