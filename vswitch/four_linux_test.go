package vswitch

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
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
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	peers := make([]caller, len(four))
	var booting sync.WaitGroup
	for i, g := range four {
		socket := filepath.Join(t.TempDir(), "s")
		if _, err := sw.AddGuest(GuestConfig{CID: g.cid, Socket: socket, Groups: g.groups}); err != nil {
			t.Fatal(err)
		}
		booting.Go(func() {
			c := testguest.Config{Machine: g.machine, Device: socket}
			if guest := tryBoot(t, g.cid, c); guest != nil {
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
		exchange := func(name string, a, b caller) {
			for _, d := range []direction{{name, a, b}, {name + " back", b, a}} {
				all.Go(func() {
					if err := verified(t.Context(), d, fourBytes); err != nil {
						t.Errorf("%s: %v", d.name, err)
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

// testDenied has one guest connect to another that it may not reach: a second time,
// since QEMU translates the code of the first.
func testDenied(t *testing.T, sw *Switch, peers []caller, from, to int) {
	t.Helper()
	before := denied(sw, four[from].cid)
	listener := call[vsock.Addr](t, peers[to], guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	listener.CID = four[to].cid
	var o guestpeer.Outcome
	for range 2 {
		o = call[guestpeer.Outcome](t, peers[from], guestpeer.CmdDial, guestpeer.Dial{To: listener})
	}
	if !o.Refused || o.Took > refusedWithin {
		t.Errorf("%d to %d: refused %v, after %v", four[from].cid, four[to].cid, o.Refused, o.Took)
	}
	if n := denied(sw, four[from].cid) - before; n != 2 {
		t.Errorf("%d to %d: %d denials are counted, want 2", four[from].cid, four[to].cid, n)
	}
}

func denied(sw *Switch, cid uint32) uint64 {
	for _, i := range sw.Contexts() {
		if i.CID == cid {
			return i.Counters.Denied
		}
	}
	return 0
}

// verified sends bytes whose checksum the receiver checks.
func verified(ctx context.Context, d direction, n int64) error {
	var to vsock.Addr
	if err := d.server.Call(ctx, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive}, &to); err != nil {
		return err
	}
	return d.client.Call(ctx, guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: n, Conns: 1}, nil)
}
