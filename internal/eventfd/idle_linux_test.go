package eventfd

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestIdle rings for nothing, as fast as can be. That is counted, and wakes nobody more
// often than it may; what has a purpose is still heard.
func TestIdle(t *testing.T) {
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var due atomic.Bool
	worked, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		e.Serve(due.Load, func() {
			due.Store(false)
			worked <- struct{}{}
		})
	}()
	start := time.Now()
	for e.Idle() < 10*idleBurst {
		if err := e.Signal(); err != nil {
			t.Fatal(err)
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%d signals for nothing are counted", e.Idle())
		}
	}
	took := time.Since(start)
	if least := 9 * min(idlePause, idleTime); took < least {
		t.Errorf("10 bursts in %v, want %v at least", took, least)
	}
	for range 3 {
		due.Store(true)
		if err := e.Signal(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-worked:
		case <-time.After(20 * time.Second):
			t.Fatal("a signal with a purpose is not heard")
		}
	}
	e.Interrupt()
	<-over
}
