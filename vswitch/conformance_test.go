package vswitch_test

import (
	"maps"
	"slices"
	"testing"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
	"vsockets.dev/vswitch"
)

// conformers are the stacks that TestConformance tries, by name. Each makes
// a pair for every case. Those of guests' kernels are in internal/guests/conformance.
var conformers = map[string]func(*testing.T) vsocktest.Pair{
	"inproc": func(t *testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		c := newContext(t, sw, vswitch.ContextConfig{CID: 3})
		return vsocktest.Pair{A: end(t, sw.Host()), B: end(t, c), Silent: silent(t, sw), Vanish: func() { closeOf(t, c) }}
	},
	"inproc-reverse": func(t *testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		c := newContext(t, sw, vswitch.ContextConfig{CID: 3, Unprivileged: true})
		p := vsocktest.Pair{A: end(t, c), B: end(t, sw.Host())}
		p.A.Traits.Unprivileged = true
		return p
	},
	"loopback": func(t *testing.T) vsocktest.Pair {
		e := end(t, newSwitch(t).Host())
		return vsocktest.Pair{A: e, B: e}
	},
}

// silent gives an address that the host can send to and that never answers. Where
// guests can join, conformance_linux_test.go has one.
var silent = func(*testing.T, *vswitch.Switch) *vsock.Addr { return nil }

// TestConformance holds the stacks that a switch joins against the suite.
func TestConformance(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(conformers)) { // in the matrix, too
		t.Run(name, func(t *testing.T) { vsocktest.TestStack(t, conformers[name]) })
	}
}

func newSwitch(t *testing.T) *vswitch.Switch {
	t.Helper()
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	return sw
}

func newContext(t *testing.T, sw *vswitch.Switch, c vswitch.ContextConfig) *vswitch.Context {
	t.Helper()
	ctx, err := sw.AddContext(c)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// end is a stack of ours, without traits.
func end(t *testing.T, s vsock.Stack) vsocktest.End {
	t.Helper()
	cid, err := s.LocalCID()
	if err != nil {
		t.Fatal(err)
	}
	return vsocktest.End{Stack: s, CID: cid}
}

func closeOf(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
