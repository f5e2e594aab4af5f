package vswitch

import (
	"testing"

	"vsockets.dev/internal/testguest"
)

// For tests from outside of the package.

// JoinSwitch is joinSwitch.
var JoinSwitch = joinSwitch

// NewBed is a switch with a real Linux guest, which has a loopback of its own.
func NewBed(t *testing.T) (*Switch, *testguest.Guest) {
	t.Helper()
	b := newBedWith(t, testguest.Config{Loopback: true})
	return b.sw, b.guest
}
