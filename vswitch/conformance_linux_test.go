package vswitch_test

import (
	"path/filepath"
	"testing"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
	"vsockets.dev/vswitch"
)

func init() {
	silent = asleep
	conformers["attached"] = attached
	conformers["attached-reverse"] = func(t *testing.T) vsocktest.Pair {
		p := attached(t)
		return vsocktest.Pair{A: p.B, B: p.A}
	}
	conformers["attached-attached"] = func(t *testing.T) vsocktest.Pair {
		sw := newSwitch(t)
		a, b := member(t, sw), member(t, sw)
		return vsocktest.Pair{A: end(t, a), B: end(t, b)}
	}
	conformers["hybrid"] = func(t *testing.T) vsocktest.Pair {
		client, guest, vanish := behindHybrid(t)
		return vsocktest.Pair{A: client, B: guest, Vanish: vanish}
	}
	conformers["hybrid-reverse"] = func(t *testing.T) vsocktest.Pair {
		client, guest, _ := behindHybrid(t)
		return vsocktest.Pair{A: guest, B: client}
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

// member is a context that is joined as another process is, in a group with the others.
func member(t *testing.T, sw *vswitch.Switch) *attach.Stack {
	t.Helper()
	c := vswitch.AttachConfig{Groups: []string{"test"}}
	c.First = 1000 + uint32(len(sw.Contexts()))
	c.Last = c.First
	s, _, err := vswitch.JoinSwitch(t, sw, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
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
