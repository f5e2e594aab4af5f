package device

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vsockets.dev/internal/packet"
)

// A guest sends without end: whoever releases its ring comes back, since one goroutine
// does that for many rings. What is there is taken all the same.
func TestReleaseReturns(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			h := rwHeader(0)
			bs := g.place(txArea, h.Append(nil))
			var stop atomic.Bool
			var taken atomic.Uint64
			var mu sync.Mutex // of the guest's end
			g.out.answerWith(func(*packet.Packet) {
				<-g.out.got
				taken.Add(1)
				if stop.Load() {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				// The guest is faster than its device: for each packet that is taken
				// there is another.
				if _, _, _, err := g.tx.Used(); err != nil {
					t.Error(err)
				}
				g.tx.Add(bs, nil)
				g.tx.Publish()
			})
			g.device.Hold()
			mu.Lock()
			for range ringSize - 1 {
				g.tx.Add(bs, nil)
			}
			g.tx.Publish()
			mu.Unlock()
			returned := make(chan struct{})
			go func() {
				defer close(returned)
				g.device.Release()
			}()
			select {
			case <-returned:
			case <-time.After(waitLimit):
				t.Error("Release does not return")
			}
			for limit := time.Now().Add(waitLimit); taken.Load() < 10_000; {
				if time.Now().After(limit) {
					t.Fatalf("%d packets are taken", taken.Load())
				}
				<-time.After(time.Millisecond)
			}
			<-returned
			before := runtime.NumGoroutine()
			for range 100 {
				g.device.Hold()
				g.device.Release()
			}
			if now := runtime.NumGoroutine(); now > before+10 {
				t.Errorf("%d goroutines, %d before", now, before)
			}
			stop.Store(true)
			g.intact()
		})
	}
}
