package vswitch

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"

	"vsockets.dev/internal/packet"
)

// TestPolicyCuts closes two guests to each other: both ends of what was connected hear
// of it, behind what waits, and it counts no more. Others are not concerned.
func TestPolicyCuts(t *testing.T) {
	for name, tc := range map[string]func(*testing.T, *Switch, *fakeGuest){
		"rule":   func(t *testing.T, sw *Switch, _ *fakeGuest) { sw.SetPolicy(policyOf(t, "deny 3 4", "deny 4 3")) },
		"groups": func(_ *testing.T, _ *Switch, b *fakeGuest) { _ = b.port.changeGroups([]string{"other"}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				sw := New(Config{})
				defer sw.Close()
				a, b, c := joinFake(t, sw, 3, Limits{}), joinFake(t, sw, 4, Limits{}), joinFake(t, sw, 5, Limits{})
				a.send(t, b, packet.OpRequest, 1000, 80, "")
				b.send(t, a, packet.OpResponse, 80, 1000, "")
				b.send(t, a, packet.OpRequest, 2000, 80, "")
				a.send(t, c, packet.OpRequest, 1000, 80, "")
				c.send(t, a, packet.OpResponse, 80, 1000, "")
				a.take()
				b.take()
				b.mu.Lock()
				b.room = 0
				b.mu.Unlock()
				a.send(t, b, packet.OpRW, 1000, 80, "waits")
				tc(t, sw, b)
				synctest.Wait()
				if got := ops(a.take()); got != "RST, RST" {
					t.Errorf("one end gets %q", got)
				}
				b.give(10)
				synctest.Wait()
				if got := ops(b.take()); got != "RW waits, RST, RST" {
					t.Errorf("the other gets %q", got)
				}
				if ai, bi := a.port.info(), b.port.info(); ai.Connections != 1 || bi.Connections+bi.HalfOpen != 0 || ai.Buffered != 0 {
					t.Errorf("left: %+v, %+v", ai, bi)
				}
				a.send(t, b, packet.OpRW, 1000, 80, "x")
				if got := ops(a.take()); got != "RST" || a.port.info().Counters.Denied != 1 {
					t.Errorf("after that: %q, %+v", got, a.port.info().Counters)
				}
				c.take()
				a.send(t, c, packet.OpRW, 1000, 80, "y")
				if got := ops(c.take()); got != "RW y" {
					t.Errorf("who is not concerned gets %q", got)
				}
			})
		})
	}
}

// TestPolicyCutsHost closes the host to a context, which sends nothing and hears of it.
func TestPolicyCutsHost(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	ctx, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	c, s, err := connect(t, sw, from(t, ctx))
	if err != nil {
		t.Fatal(err)
	}
	sw.SetPolicy(policyOf(t, "deny * *"))
	for _, end := range []interface{ Read([]byte) (int, error) }{c, s} {
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v", err)
		}
	}
	if n := ctx.port.info().Connections; n != 0 {
		t.Errorf("%d connections count", n)
	}
	sw.SetPolicy(Policy{})
	if c, s, err = connect(t, sw, from(t, ctx)); err != nil {
		t.Errorf("when it is open again: %v", err)
	} else {
		_, _ = c.Close(), s.Close()
	}
}
