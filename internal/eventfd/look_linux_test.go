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
	e.Interrupt()
	<-ended
	if Look() {
		t.Error("an event is found that nobody serves")
	}
}

// TestLookTwice has one signal be found by Look and by the runtime, in either order, which is no
// signal for nothing.
func TestLookTwice(t *testing.T) {
	for name, find := range map[string]func(){
		"Look, the runtime": func() { Look(); <-time.After(100 * time.Microsecond) },
		"the runtime, Look": func() { <-time.After(100 * time.Microsecond); Look(); <-time.After(100 * time.Microsecond) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEvent(t)
			var due, done atomic.Int32
			ended := serve(e, &due, &done)
			const signals = 100
			for n := int32(1); n <= signals; n++ {
				due.Store(n)
				if err := e.Signal(); err != nil {
					t.Fatal(err)
				}
				for limit := time.Now().Add(10 * time.Second); ; {
					if find(); done.Load() == n {
						break
					}
					if time.Now().After(limit) {
						t.Fatalf("signal %d is never seen", n)
					}
				}
			}
			// One may be seen before it is waited for, and found by the runtime then.
			if idle := e.Idle(); idle > signals/10 {
				t.Errorf("%d of %d signals are counted as idle", idle, signals)
			}
			e.Interrupt()
			<-ended
		})
	}
}

// TestLookIdle has the other side signal for nothing, and the only processor be kept by who looks:
// that is noticed all the same.
func TestLookIdle(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := newEvent(t)
	var due, done atomic.Int32
	ended := serve(e, &due, &done)
	runtime.Gosched() // to that
	for range 4 * idleBurst {
		if err := e.Signal(); err != nil {
			t.Fatal(err)
		}
		Look()
		runtime.Gosched()
	}
	if idle := e.Idle(); idle < idleBurst {
		t.Errorf("of %d signals %d are counted as idle, want %d", 4*idleBurst, idle, idleBurst)
	}
	e.Interrupt()
	<-ended
}

// TestLookInterrupted has Serve be interrupted, or the event be closed, while others look.
func TestLookInterrupted(t *testing.T) {
	for name, tc := range map[string]struct {
		end     func(*Event)
		signals bool // others signal, which nobody may after Close
	}{
		"interrupted": {(*Event).Interrupt, true},
		"closed":      {func(e *Event) { _ = e.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range 300 {
				e := newEvent(t)
				var none, done atomic.Int32
				ended := serve(e, &none, &done)
				var over atomic.Bool
				var looking sync.WaitGroup
				looking.Go(func() {
					for !over.Load() {
						if tc.signals {
							_ = e.Signal()
						}
						Look()
					}
				})
				for range n % 8 { // so that Serve has waited, or not
					if err := e.Signal(); err != nil {
						t.Error(err)
					}
					runtime.Gosched()
				}
				tc.end(e)
				limit := time.AfterFunc(10*time.Second, func() { panic("Serve does not end") })
				<-ended
				if e.Wait(func() bool { return false }) {
					t.Error("a wait after the end is not interrupted")
				}
				limit.Stop()
				over.Store(true)
				looking.Wait()
			}
		})
	}
}
