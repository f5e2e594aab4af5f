package vswitch

import (
	"maps"
	"strings"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// TestMaxContexts has one place left for a context: one joins, and then in vain another,
// until the first leaves.
func TestMaxContexts(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	before := *sw.routes.Load()
	full, other := maps.Clone(before), joinFake(t, sw, 3, Limits{}).port
	const first = 10
	for cid := uint32(first); len(full) < MaxContexts-1; cid++ {
		full[cid] = other
	}
	sw.routes.Store(&full)
	defer sw.routes.Store(&before)
	join := func(cid uint32) (*Context, error) { return sw.AddContext(ContextConfig{CID: cid}) }

	last, err := join(first + MaxContexts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := join(first + MaxContexts + 1); err == nil || !strings.Contains(err.Error(), "4096 contexts are joined, which is the limit") {
		t.Errorf("one more: %v", err)
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := join(first + MaxContexts + 1)
	if err != nil {
		t.Fatalf("when one has left: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestDefaultLimits has a guest without limits of its own open connections: as many as the
// defaults allow get through.
func TestDefaultLimits(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	a, b := joinFake(t, sw, 3, Limits{}), joinFake(t, sw, 4, Limits{})
	port := uint32(0)
	request := func(refused bool) {
		t.Helper()
		port++
		a.send(t, b, packet.OpRequest, port, 80, "")
		if got := ops(a.take()); (got == "RST") != refused || (len(b.take()) == 0) != refused {
			t.Fatalf("request %d is answered with %q", port, got)
		}
	}
	for range DefaultHalfOpen {
		request(false)
	}
	request(true)
	for answered := uint32(1); answered <= DefaultHalfOpen; answered++ {
		b.send(t, a, packet.OpResponse, 80, answered, "")
	}
	a.take()
	for range DefaultConnections - DefaultHalfOpen {
		request(false)
		b.send(t, a, packet.OpResponse, 80, port, "")
		a.take()
	}
	request(true)
	if i := a.port.info(); i.Connections != DefaultConnections || i.HalfOpen != 0 || i.Counters.Limited != 2 {
		t.Errorf("info: %+v", i)
	}
}

// TestCaptureCount has more small packets pass than a capture keeps.
func TestCaptureCount(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	a, b := joinFake(t, sw, 3, Limits{}), joinFake(t, sw, 4, Limits{})
	tap, err := sw.Capture(CaptureConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	const more = 100
	for range MaxCaptured + more {
		a.send(t, b, packet.OpRW, vsock.PortAny, 80, "x")
		b.take()
	}
	all, _ := tap.Next(nil)
	if len(all) != MaxCaptured || tap.Dropped() != more {
		t.Errorf("%d are kept, and %d dropped", len(all), tap.Dropped())
	}
}
