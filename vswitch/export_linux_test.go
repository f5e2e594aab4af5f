package vswitch

import (
	"path/filepath"
	"testing"

	"vsockets.dev/internal/testguest"
)

// For tests from outside of the package.

// JoinSwitch is joinSwitch.
var JoinSwitch = joinSwitch

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
