package vswitch

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"vsockets.dev/internal/testguest"
)

// For tests from outside of the package.

// JoinSwitch is joinSwitch.
var JoinSwitch = joinSwitch

// EndSession takes a guest away, whose socket stays.
func EndSession(g *Guest) {
	g.end(net.ErrClosed)
	for g.session.Load() != nil {
		runtime.Gosched()
	}
}

// NewGuest joins a real Linux guest, which has a loopback of its own, to a switch.
func NewGuest(t *testing.T, sw *Switch, cid uint32, groups ...string) *testguest.Guest {
	t.Helper()
	testguest.Require(t)
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddGuest(GuestConfig{CID: cid, Socket: socket, Groups: groups}); err != nil {
		t.Fatal(err)
	}
	return bootAs(t, cid, testguest.Config{Device: socket, Loopback: true})
}
