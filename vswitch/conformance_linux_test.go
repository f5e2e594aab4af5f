package vswitch_test

import (
	"path/filepath"
	"testing"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
	"vsockets.dev/vswitch"
)

func init() {
	silent = asleep
	conformers["attached"] = each(attached)
	conformers["attached-reverse"] = each(func(t *testing.T) vsocktest.Pair {
		p := attached(t)
		return vsocktest.Pair{A: p.B, B: p.A}
	})
	conformers["attached-attached"] = each(func(t *testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		a, b := member(t, sw), member(t, sw)
		return vsocktest.Pair{A: end(t, a), B: end(t, b)}
	})
	conformers["hybrid"] = each(func(t *testing.T) vsocktest.Pair {
		client, guest, vanish := behindHybrid(t)
		return vsocktest.Pair{A: client, B: guest, Vanish: vanish}
	})
	conformers["hybrid-reverse"] = each(func(t *testing.T) vsocktest.Pair {
		client, guest, _ := behindHybrid(t)
		return vsocktest.Pair{A: guest, B: client}
	})
	conformers["guest"] = func(t *testing.T) func(*testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		return withKernel(towardsKernel(end(t, sw.Host())), inGuest(t, sw, 3))
	}
	conformers["guest-reverse"] = func(t *testing.T) func(*testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		return withKernel(inGuest(t, sw, 3), end(t, sw.Host())) // which takes what the guest proposes
	}
	conformers["guest-guest"] = func(t *testing.T) func(*testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		return withKernel(inGuest(t, sw, 3), inGuest(t, sw, 4))
	}
	conformers["attached-guest"] = func(t *testing.T) func(*testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		return withKernel(towardsKernel(end(t, member(t, sw))), inGuest(t, sw, 3))
	}
	conformers["guest-attached"] = func(t *testing.T) func(*testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		return withKernel(inGuest(t, sw, 3), end(t, member(t, sw)))
	}
}

// attached is the host and a context that is joined as another process is.
func attached(t *testing.T) vsocktest.Pair {
	t.Helper()
	sw := newSwitch(t)
	a, pool, err := vswitch.JoinSwitch(t, sw, vswitch.AttachConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return vsocktest.Pair{A: end(t, sw.Host()), B: end(t, a), Silent: silent(t, sw), Vanish: func() { closeOf(t, pool) }}
}

// group is the one that contexts are in which talk to one another.
const group = "test"

// member is a context that is joined as another process is, in the group.
func member(t *testing.T, sw *vswitch.Switch) *attach.Stack {
	t.Helper()
	c := vswitch.AttachConfig{Groups: []string{group}}
	c.First = 1000 + uint32(len(sw.Contexts()))
	c.Last = c.First
	s, _, err := vswitch.JoinSwitch(t, sw, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// inGuest is the kernel of a real guest in the group, whose sockets the guest's agent
// uses as it is told .
func inGuest(t *testing.T, sw *vswitch.Switch, cid uint32) vsocktest.End {
	t.Helper()
	guest := vswitch.NewGuest(t, sw, cid, group)
	kernel := vsocktest.Linux61()
	kernel.LoopbackFromLocal = true // its own CID is not its loopback's
	return vsocktest.End{Stack: remote(t, sw, guest), CID: guest.CID(), Traits: kernel}
}

// remote is the stack of a guest, whose agent is told by way of the host: with both
// ends far away, a guest's control line would be too slow for the suite.
func remote(t *testing.T, sw *vswitch.Switch, g *testguest.Guest) *guestpeer.Remote {
	t.Helper()
	var at vsock.Addr
	if err := g.Call(t.Context(), guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceCalls}, &at); err != nil {
		t.Fatal(err)
	}
	conn, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: g.CID(), Port: at.Port})
	if err != nil {
		t.Fatal(err)
	}
	c := guestpeer.NewClient(conn)
	t.Cleanup(func() { _ = c.Close() })
	return guestpeer.NewRemote(t.Context(), c)
}

// towardsKernel is an end that connects to a kernel, which does not negotiate, nor
// has datagrams.
func towardsKernel(e vsocktest.End) vsocktest.End {
	e.Traits = vsocktest.Traits{NoNegotiation: true}
	return e
}

// withKernel is a pair of which one end at least is a guest that has been booted.
func withKernel(a, b vsocktest.End) func(*testing.T) vsocktest.Pair {
	return func(*testing.T) vsocktest.Pair { return vsocktest.Pair{A: a, B: b} }
}

// behindHybrid is a client of the Unix-socket protocol, which stands for the host, and
// a guest behind that.
func behindHybrid(t *testing.T) (client, guest vsocktest.End, vanish func()) {
	t.Helper()
	sw := newSwitch(t)
	dir := t.TempDir()
	c := vswitch.GuestConfig{CID: 3, Socket: filepath.Join(dir, "s"), Hybrid: filepath.Join(dir, "h")}
	machine, err := sw.AddGuest(c)
	if err != nil {
		t.Fatal(err)
	}
	g, err := attach.Dial(t.Context(), c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	h := hybrid.NewStack(c.Hybrid, hybrid.StackConfig{GuestCID: c.CID})
	t.Cleanup(func() { _ = h.Close(); _ = g.Close() })
	client = vsocktest.End{Stack: h, CID: vsock.CIDHost, Traits: vsocktest.Hybrid()}
	return client, end(t, g), func() { vswitch.EndSession(machine) }
}

// mute is the stack of a process that has joined and never answers.
type mute struct{}

func (mute) Take(p *packet.Packet, _ packet.Waker) (int, bool) { return int(p.Len), true }

// asleep is the address of such a process.
func asleep(t *testing.T, sw *vswitch.Switch) *vsock.Addr {
	t.Helper()
	const cid = 99
	path := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: cid, Socket: path}); err != nil {
		t.Fatal(err)
	}
	d, err := driver.Connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.Start(mute{}); err != nil {
		t.Fatal(err)
	}
	return &vsock.Addr{CID: cid, Port: 5000}
}
