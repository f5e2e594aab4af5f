package eventfd

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serve serves e until it is interrupted, and says so then. Each signal is for one piece of work.
func serve(e *Event, due, done *atomic.Int32) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		e.Serve(func() bool { return due.Load() > done.Load() }, func() { done.Add(1) })
	}()
	return ended
}

func newEvent(t *testing.T) *Event {
	t.Helper()
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestLook has the only processor be kept: who serves an event has it when Look finds the signal.
func TestLook(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const signals = 200
	e := newEvent(t)
	var due, done atomic.Int32
	ended := serve(e, &due, &done)
	runtime.Gosched() // to that
	prompt := 0
	for n := int32(1); n <= signals; n++ {
		due.Store(n)
		if err := e.Signal(); err != nil {
			t.Fatal(err)
		}
		if Look() {
			runtime.Gosched()
		}
		if done.Load() == n {
			prompt++
		}
		for limit := time.Now().Add(10 * time.Second); done.Load() < n; runtime.Gosched() {
			if time.Now().After(limit) {
				t.Fatalf("signal %d is never seen", n)
			}
		}
	}
	// The runtime may have found it, which runs another goroutine first.
	if prompt < signals*9/10 {
		t.Errorf("%d of %d signals were found at once", prompt, signals)
	}
	// The runtime finds each once more, which is no signal for nothing.
	if idle := e.Idle(); idle > signals/10 {
		t.Errorf("%d of %d signals are counted as idle", idle, signals)
	}
	e.Interrupt()
	<-ended
	if Look() {
		t.Error("an event is found that nobody serves")
	}
}

// TestLookInterrupted has Serve be interrupted, or the event be closed, while others look.
func TestLookInterrupted(t *testing.T) {
	for name, tc := range map[string]struct {
		end    func(*Event)
		signal func(*Event) error
	}{
		"interrupted": {(*Event).Interrupt, func(e *Event) error { return e.Signal() }},
		"closed":      {func(e *Event) { _ = e.Close() }, func(*Event) error { return nil }}, // after which nobody may
	} {
		t.Run(name, func(t *testing.T) {
			for range 300 {
				e := newEvent(t)
				var due, done atomic.Int32
				ended := serve(e, &due, &done)
				if err := e.Signal(); err != nil {
					t.Fatal(err)
				}
				var over atomic.Bool
				var looking sync.WaitGroup
				looking.Go(func() {
					for !over.Load() {
						Look()
						_ = tc.signal(e)
					}
				})
				tc.end(e)
				limit := time.AfterFunc(10*time.Second, func() { panic("Serve does not end") })
				<-ended
				limit.Stop()
				over.Store(true)
				looking.Wait()
			}
		})
	}
}
