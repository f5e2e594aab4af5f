package vsock_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// hostPort is where the host listens while TestVirtio runs in the guest.
const hostPort = 1024

// TestInVirtioGuest runs the TestVirtio tests in a guest that has a transport to its
// host, a switch in this program, and no loopback.
func TestInVirtioGuest(t *testing.T) {
	testguest.Require(t)
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	socket := filepath.Join(t.TempDir(), "s")
	guest, err := sw.AddGuest(vswitch.GuestConfig{CID: 3, Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	listener(t, &vsock.ListenConfig{Stack: sw.Host()}, hostPort)
	out := runInGuest(t, testguest.Config{Device: socket}, "^TestVirtio")
	if strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS: TestVirtioNoLoopback ") {
		t.Error("not every test ran in the guest")
	}
	// The one to CID 99, and none to CID 1.
	if n := guest.Counters().Unreachable; n != 1 {
		t.Errorf("%d packets of the guest had no destination, want 1", n)
	}
}

// TestVirtioNoLoopback: nothing that is meant for CID 1 may reach the host. Without
// asking first, the kernel would send it there.
func TestVirtioNoLoopback(t *testing.T) {
	requireGuest(t)
	_, err := vsock.Dial(t.Context(), nil, vsock.Addr{CID: vsock.CIDLocal, Port: hostPort})
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "modprobe vsock_loopback") {
		t.Errorf("Dial: %v", err)
	}
	s, err := vsock.Kernel().Socket(vsock.Seqpacket)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetNonblock(true); err != nil {
		t.Fatal(err)
	}
	if err := s.Connect(t.Context(), vsock.Addr{CID: vsock.CIDLocal, Port: hostPort}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("Connect, non-blocking: %v", err)
	}
}

// TestVirtioToHost: with the flag, a CID above 2 is the host's to know.
func TestVirtioToHost(t *testing.T) {
	requireGuest(t)
	d := vsock.Dialer{ToHost: true}
	c, err := d.Dial(t.Context(), vsock.Addr{CID: vsock.CIDHost, Port: hostPort})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v, err := c.Socket().Option(vsock.ToHost); v != 1 || err != nil {
		t.Errorf("ToHost is %d, %v", v, err)
	}
	if _, err := d.Dial(t.Context(), vsock.Addr{CID: 99, Port: hostPort}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("to CID 99: %v", err)
	}
}

// TestInBothGuest runs the TestBoth tests in a guest that has a loopback beside the
// transport to its host.
func TestInBothGuest(t *testing.T) {
	testguest.Require(t)
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: 3, Socket: socket}); err != nil {
		t.Fatal(err)
	}
	out := runInGuest(t, testguest.Config{Device: socket, Loopback: true}, "^TestBoth")
	if strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS: TestBothNames ") {
		t.Error("not every test ran in the guest")
	}
}

// TestBothNames: over the loopback a socket has the name that its peer sees, and not
// the CID that its machine has for others. One that was bound keeps its own.
func TestBothNames(t *testing.T) {
	requireGuest(t)
	if cid, err := vsock.Kernel().LocalCID(); cid != 3 || err != nil {
		t.Fatalf("LocalCID: %d, %v", cid, err)
	}
	ln := kernelListener(t)
	to := ln.Addr().(vsock.Addr)
	for name, c := range map[string]struct {
		bind *vsock.Addr
		want uint32
	}{
		"not bound":    {nil, vsock.CIDLocal},
		"bound to any": {&vsock.Addr{CID: vsock.CIDAny, Port: 4000}, 3},
		"bound":        {&vsock.Addr{CID: vsock.CIDLocal, Port: 4001}, vsock.CIDLocal},
	} {
		d := vsock.Dialer{LocalAddr: c.bind}
		conn, err := d.Dial(t.Context(), to)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		peer, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		local, seen := conn.LocalAddr().(vsock.Addr), peer.RemoteAddr().(vsock.Addr)
		if local.CID != c.want || c.bind != nil && local.Port != c.bind.Port {
			t.Errorf("%s: its own name is %v", name, local)
		}
		if seen != (vsock.Addr{CID: vsock.CIDLocal, Port: local.Port}) {
			t.Errorf("%s: its peer sees %v", name, seen)
		}
		_, _ = conn.Close(), peer.Close()
	}
}
