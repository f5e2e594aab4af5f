package winsock

import (
	"testing"
	"time"
)

func TestDirection(t *testing.T) {
	d := newDirection()
	if isClosed(d.deadline()) || isClosed(d.shut) {
		t.Fatal("new, and ended")
	}
	d.set(time.Unix(1, 0))
	if !isClosed(d.deadline()) {
		t.Error("a deadline in the past has not passed")
	}
	d.set(time.Unix(1, 0)) // again: nothing is closed twice
	d.set(time.Time{})
	if isClosed(d.deadline()) {
		t.Error("no deadline has passed")
	}
	ch := d.deadline()
	d.set(time.Now().Add(time.Hour))
	d.set(time.Now().Add(time.Millisecond)) // who waits already is ended by it
	<-ch
	d.set(time.Now().Add(time.Hour))
	if isClosed(d.deadline()) {
		t.Error("the deadline before has passed, not this one")
	}
	d.set(time.Time{}) // stops the timer
	d.shutdown()
	d.shutdown()
	if !isClosed(d.shut) {
		t.Error("not shut down")
	}
}

// TestDirectionRaces sets deadlines while the one before passes.
func TestDirectionRaces(t *testing.T) {
	d := newDirection()
	for range 1000 {
		d.set(time.Now().Add(time.Microsecond))
		d.set(time.Now().Add(time.Hour))
		if isClosed(d.deadline()) {
			t.Fatal("passed an hour early")
		}
	}
	d.set(time.Time{})
}
