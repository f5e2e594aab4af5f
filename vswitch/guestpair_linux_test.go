package vswitch

import (
	"path/filepath"
	"sync"
	"testing"

	"vsockets.dev/internal/testguest"
)

// NewGuestPair is a switch with two guests that may talk to each other, of CIDs 3
// and 4: one of User Mode Linux, and one of the machine.
func NewGuestPair(t *testing.T, machine testguest.Machine, c testguest.Config) (*Switch, [2]*testguest.Guest) {
	t.Helper()
	testguest.Require(t)
	machine.Require(t)
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	var guests [2]*testguest.Guest
	var booting sync.WaitGroup
	for i, m := range []testguest.Machine{testguest.UML, machine} {
		cid := uint32(guestCID + i)
		c := c
		c.Machine, c.Device = m, filepath.Join(t.TempDir(), "s")
		if _, err := sw.AddGuest(GuestConfig{CID: cid, Socket: c.Device, Groups: []string{"pair"}}); err != nil {
			t.Fatal(err)
		}
		booting.Go(func() { guests[i] = tryBoot(t, cid, c) })
	}
	booting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return sw, guests
}
