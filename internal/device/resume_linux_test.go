package device

import (
	"runtime"
	"testing"
	"time"
)

// A guest rests: who looks into its ring meanwhile does not have more be done when the
// rest is over than to take up TX once.
func TestRestPolled(t *testing.T) {
	g := still(t)
	g.device.patience.fault(2 * faultBurst)
	over := time.Now().Add(50 * time.Millisecond)
	g.device.patience.until = over
	hdr := rwHeader(0)
	g.send(hdr.Append(nil))
	before := runtime.NumGoroutine()
	for range 1000 {
		if g.device.Poll() && time.Now().Before(over) {
			t.Fatal("the guest is heard while it rests")
		}
	}
	most := before
	for limit := time.Now().Add(waitLimit); len(g.out.got) == 0; runtime.Gosched() {
		most = max(most, runtime.NumGoroutine())
		if time.Now().After(limit) {
			t.Fatal("the guest is not heard after the rest")
		}
	}
	if most > before+10 {
		t.Errorf("%d goroutines, %d before", most, before)
	}
}

// TestDoorbellChanges has a front-end take a doorbell away and give another, while a signal
// waits.
func TestDoorbellChanges(t *testing.T) {
	g := still(t)
	g.sendOf(1)
	bell := g.device.tx.call
	must(t, g.device.SetCall(txQueue, nil))
	g.device.settleLate()
	if got := g.signals(); got != 0 {
		t.Fatalf("%d signals without a doorbell", got)
	}
	must(t, g.device.SetCall(txQueue, bell))
	if got := g.signals(); got != 1 {
		t.Errorf("%d signals, want 1", got)
	}
}
