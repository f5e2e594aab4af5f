package qemu

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/guests"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// qemuTimeLimit is enough for a machine that is busy with other things: a guest
// boots in about 5 s and its part of a test takes as long again.
const qemuTimeLimit = 2 * time.Minute

// qemuRefusedWithin is ten times what a guest needs for its first connection, whose
// code QEMU has yet to translate, and far below the connect timeout of 2 s.
const qemuRefusedWithin = 500 * time.Millisecond

// qemuMachines boot kernels of both kinds: up to Linux 6.1 a packet's header and
// payload lie in two buffers, from 6.2 on in one.
var qemuMachines = []testguest.Machine{testguest.QEMU61, testguest.QEMU612}

// shellFiles are Debian's shell and what it needs to run.
var shellFiles = []string{"/bin/sh", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}

// TestQEMU holds the device against QEMU's front-end. It is another one than User
// Mode Linux's: two queues of 128, which it stops and starts in its own way, memory in
// several regions, the event queue its own.
func TestQEMU(t *testing.T) {
	for _, m := range qemuMachines {
		t.Run(m.String(), func(t *testing.T) {
			start := time.Now()
			config := testguest.Config{Machine: m, Files: shellFiles, TimeLimit: qemuTimeLimit}
			b := guests.NewBed(t, config)
			t.Logf("Linux %s, booted in %v", b.Guest.Kernel(), time.Since(start))
			testQEMU(t, b)
			if m == testguest.QEMU61 { // one is enough: what matters is QEMU
				if err := b.Guest.Close(); err != nil {
					t.Error(err)
				}
				config.Device = b.Socket
				b.Guest = guests.Boot(t, guests.CID, config)
			}
			t.Run("killed", func(t *testing.T) { testKilled(t, b.Switch, b.Guest) })
		})
	}
}

func testQEMU(t *testing.T, b *guests.Bed) {
	for _, d := range b.Directions() {
		t.Run(d.Name, func(t *testing.T) {
			t.Run("64 MiB", func(t *testing.T) { d.Transfer(t, 64<<20, 1) })
			t.Run("20 connections at once", func(t *testing.T) { d.Transfer(t, 256<<10, 20) })
			t.Run("refused", func(t *testing.T) { testQEMURefused(t, d) })
		})
	}
	t.Run("addresses", func(t *testing.T) { b.CheckAddresses(t) })
	t.Run("half-close from the host", func(t *testing.T) { b.CheckHalfClose(t) })
	t.Run("net", func(t *testing.T) { b.CheckNet(t) })
	t.Run("device reset", func(t *testing.T) { testReset(t, b) })
}

// testQEMURefused connects to a port where nobody listens.
func testQEMURefused(t *testing.T, d guests.Direction) {
	to := guests.Call[vsock.Addr](t, d.Server, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	guests.Call[any](t, d.Server, guestpeer.CmdClose, guestpeer.Port{Port: to.Port})
	refused, took := d.Refused(t, to)
	if !refused || took > qemuRefusedWithin {
		t.Errorf("%v: refused %v, after %v", to, refused, took)
	}
	t.Logf("refused after %v", took)
}

// testReset has the guest's driver give the device up and take it again, as in a
// reboot: QEMU stops the rings and starts them anew, in the same session.
func testReset(t *testing.T, b *guests.Bed) {
	to := guests.Call[vsock.Addr](t, b.Guest, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	c, err := vsock.Dial(t.Context(), b.Switch.Host(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const script = `cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport && for d in virtio*; do echo $d >unbind && echo $d >bind; done`
	var says bytes.Buffer
	exit, err := b.Guest.Run(t.Context(), testguest.Command{Path: "/bin/sh", Args: []string{"-c", script}, Stderr: &says})
	if exit != 0 || err != nil {
		t.Fatalf("exit %d, %v: %s", exit, err, &says)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection from before the reset: %v", err)
	}
	for _, d := range b.Directions() {
		d.Transfer(t, 1<<20, 1)
	}
	b.CheckAddresses(t)
}

// testKilled kills QEMU in the middle of a transfer from the guest.
func testKilled(t *testing.T, sw *vswitch.Switch, g *testguest.Guest) {
	ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sent := make(chan error, 1)
	go func() {
		endless := guestpeer.Transfer{To: ln.Addr().(vsock.Addr), Bytes: 1 << 40, Conns: 1}
		sent <- g.Call(t.Context(), guestpeer.CmdSend, endless, nil)
	}()
	c, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var killed time.Time
	moved, err := transfer.Receive(c, func(int) {
		if killed.IsZero() {
			killed = time.Now()
			g.Kill()
		}
	})
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the transfer ended after %d bytes with %v", moved, err)
	}
	t.Logf("an error %v after the kill", time.Since(killed))
	if err := <-sent; !errors.Is(err, testguest.ErrKilled) {
		t.Errorf("the guest's command ended with %v", err)
	}
	if _, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: guests.CID, Port: 1}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to a dead guest: %v", err)
	}
}
