package qemu

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/guests"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// fourBytes is what each of four guests sends to each that it may talk to.
const fourBytes = 64 << 20

// four is the switch with four guests of all kinds, and the groups that they are in.
var four = []struct {
	cid     uint32
	machine testguest.Machine
	groups  []string
}{
	{3, testguest.UML, []string{"a"}},
	{4, testguest.UML, []string{"a", "b"}},
	{5, testguest.QEMU61, []string{"b"}},
	{6, testguest.QEMU612, []string{"a"}},
}

// fourPairs are all pairs of them, and whether they may talk.
var fourPairs = []struct {
	a, b    int
	allowed bool
}{
	{0, 1, true}, {0, 2, false}, {0, 3, true}, {1, 2, true}, {1, 3, true}, {2, 3, false},
}

// TestFourGuests has four real guests on one switch, of which some may talk to each
// other, all at the same time, and some may not.
func TestFourGuests(t *testing.T) {
	for _, g := range four {
		g.machine.Require(t)
	}
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	peers := make([]guests.Caller, len(four))
	var booting sync.WaitGroup
	for i, g := range four {
		_, socket := guests.Add(t, sw, g.cid, g.groups...)
		booting.Go(func() {
			c := testguest.Config{Machine: g.machine, Device: socket}
			if guest := guests.TryBoot(t, g.cid, c); guest != nil {
				peers[i] = guest
			}
		})
	}
	booting.Wait()
	if t.Failed() {
		return
	}
	local := guestpeer.New(sw.Host())
	t.Cleanup(func() { _ = local.Close() })

	t.Run("denied", func(t *testing.T) {
		for _, p := range fourPairs {
			if !p.allowed {
				testDenied(t, sw, peers, p.a, p.b)
				testDenied(t, sw, peers, p.b, p.a)
			}
		}
	})
	t.Run("64 MiB between all others at once", func(t *testing.T) {
		start := time.Now()
		var all sync.WaitGroup
		exchange := func(name string, a, b guests.Caller) {
			for _, d := range []guests.Direction{{Name: name, Client: a, Server: b}, {Name: name + " back", Client: b, Server: a}} {
				all.Go(func() {
					if err := d.TryTransfer(t.Context(), fourBytes); err != nil {
						t.Errorf("%s: %v", d.Name, err)
					}
				})
			}
		}
		for i, g := range four {
			exchange(fmt.Sprintf("host to %d", g.cid), local, peers[i])
		}
		for _, p := range fourPairs {
			if p.allowed {
				exchange(fmt.Sprintf("%d to %d", four[p.a].cid, four[p.b].cid), peers[p.a], peers[p.b])
			}
		}
		all.Wait()
		t.Logf("16 transfers of %d MiB in %v", fourBytes>>20, time.Since(start))
		for _, i := range sw.Contexts() {
			if i.Counters.Overflow+i.Counters.Malformed+i.Counters.Forged+i.Counters.Dropped > 0 {
				t.Errorf("CID %d: %+v", i.CID, i.Counters)
			}
			if i.Buffered != 0 {
				t.Errorf("CID %d: %d bytes wait when all have arrived", i.CID, i.Buffered)
			}
		}
	})
}

// testDenied has one guest connect to another that it may not reach.
func testDenied(t *testing.T, sw *vswitch.Switch, peers []guests.Caller, from, to int) {
	t.Helper()
	before := guests.Info(sw, four[from].cid).Counters.Denied
	listener := guests.Call[vsock.Addr](t, peers[to], guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	listener.CID = four[to].cid
	refused, took := guests.Direction{Client: peers[from]}.Refused(t, listener)
	if !refused || took > guests.RefusedWithin {
		t.Errorf("%d to %d: refused %v, after %v", four[from].cid, four[to].cid, refused, took)
	}
	if n := guests.Info(sw, four[from].cid).Counters.Denied - before; n != guests.Refusals {
		t.Errorf("%d to %d: %d denials are counted, want %d", four[from].cid, four[to].cid, n, guests.Refusals)
	}
}
