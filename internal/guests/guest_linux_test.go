package guests

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestGuest(t *testing.T) {
	b := NewBed(t, testguest.Config{})
	for _, d := range b.Directions() {
		t.Run(d.Name, func(t *testing.T) {
			t.Run("1 GiB", func(t *testing.T) { d.Transfer(t, 1<<30, 1) })
			t.Run("100 connections at once", func(t *testing.T) { d.Transfer(t, 1<<20, 100) })
			t.Run("refused", func(t *testing.T) { testRefused(t, b, d) })
		})
	}
	t.Run("addresses", func(t *testing.T) { b.CheckAddresses(t) })
	t.Run("half-close from the host", func(t *testing.T) { b.CheckHalfClose(t) })
	t.Run("net", func(t *testing.T) { b.CheckNet(t) })
}

// testRefused connects to nobody, to a listener that has just closed, and from
// the guest to a context that is not there.
func testRefused(t *testing.T, b *Bed, d Direction) {
	to := Call[vsock.Addr](t, d.Server, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	if o := Call[guestpeer.Outcome](t, d.Client, guestpeer.CmdDial, guestpeer.Dial{To: to}); o.Refused {
		t.Fatal("a listener refuses")
	}
	Call[any](t, d.Server, guestpeer.CmdClose, guestpeer.Port{Port: to.Port})
	targets := []vsock.Addr{to, {CID: to.CID, Port: 9}}
	if d.Client == Caller(b.Guest) {
		targets = append(targets, vsock.Addr{CID: 77, Port: 1})
	}
	for _, to := range targets {
		if refused, took := d.Refused(t, to); !refused || took > RefusedWithin {
			t.Errorf("%v: refused %v, after %v", to, refused, took)
		}
	}
}

// TestGuestKilled kills the guest in the middle of a transfer, each way. Then it
// boots again, on the same socket.
func TestGuestKilled(t *testing.T) {
	b := NewBed(t, testguest.Config{})
	b.Host.Close()
	for _, receive := range []bool{true, false} {
		ended := make(chan error, 1)
		moving := make(chan struct{})
		moved := 0
		progress := func(n int) {
			if moved += n; moved == n {
				close(moving)
			}
		}
		if receive {
			ln, err := vsock.Listen(t.Context(), b.Switch.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				_ = b.Guest.Call(t.Context(), guestpeer.CmdSend, guestpeer.Transfer{To: ln.Addr().(vsock.Addr), Bytes: 1 << 40, Conns: 1}, nil)
			}()
			c, err := ln.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { _, err := transfer.Receive(c, progress); ended <- err }()
		} else {
			to := Call[vsock.Addr](t, b.Guest, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive})
			c, err := vsock.Dial(t.Context(), b.Switch.Host(), to)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { ended <- transfer.Send(c, 1<<40, 1, progress) }()
		}
		<-moving
		start := time.Now()
		b.Guest.Kill()
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("receiving %v: the transfer ended with %v", receive, err)
		}
		t.Logf("receiving %v: an error %v after the kill", receive, time.Since(start))
		if _, err := vsock.Dial(t.Context(), b.Switch.Host(), vsock.Addr{CID: CID, Port: 1}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to a dead guest: %v", err)
		}
		b.Guest = Boot(t, CID, testguest.Config{Device: b.Socket})
	}
}

// TestGuestsPeerKilled kills a guest that another one sends to. The sender's socket
// fails at once, and works again when the guest is back.
func TestGuestsPeerKilled(t *testing.T) {
	testguest.Require(t)
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	var sockets [2]string
	var guests [2]*testguest.Guest
	for i := range guests {
		cid := uint32(CID + i)
		_, sockets[i] = Add(t, sw, cid, "a")
		guests[i] = Boot(t, cid, testguest.Config{Device: sockets[i]})
	}
	to := Call[vsock.Addr](t, guests[1], guestpeer.CmdListen, guestpeer.Listen{Port: 1024, Service: guestpeer.ServiceReceive})
	ended := make(chan error, 1)
	go func() {
		ended <- guests[0].Call(t.Context(), guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: 1 << 40, Conns: 1}, nil)
	}()
	for Info(sw, CID+1).Received.Bytes < 1<<20 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	start := time.Now()
	guests[1].Kill()
	if err := <-ended; err == nil {
		t.Error("the transfer to a dead guest succeeded")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("an error %v after the kill", took)
	} else {
		t.Logf("an error %v after the kill", took)
	}
	if o := Call[guestpeer.Outcome](t, guests[0], guestpeer.CmdDial, guestpeer.Dial{To: to}); !o.Refused {
		t.Error("a dead guest accepts")
	}
	guests[1] = Boot(t, CID+1, testguest.Config{Device: sockets[1]})
	if err := (Direction{"", guests[0], guests[1]}).TryTransfer(t.Context(), 1<<20); err != nil {
		t.Errorf("after it is back: %v", err)
	}
	for _, i := range sw.Contexts() {
		if i.Buffered != 0 || i.Connections > 2 {
			t.Errorf("CID %d: %d bytes wait, %d connections", i.CID, i.Buffered, i.Connections)
		}
	}
}

// TestSwitchGone ends the switch in the middle of a guest's transfer.
func TestSwitchGone(t *testing.T) {
	b := NewBed(t, testguest.Config{})
	to := Call[vsock.Addr](t, b.Host, guestpeer.CmdListen, guestpeer.Listen{Port: 1024, Service: guestpeer.ServiceReceive})
	ended := make(chan error, 1)
	go func() {
		ended <- b.Guest.Call(t.Context(), guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: 1 << 40, Conns: 1}, nil)
	}()
	for Info(b.Switch, CID).Sent.Bytes < 1<<20 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	start := time.Now()
	if err := b.Switch.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the transfer succeeded")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the guest has its error %v after the end", took)
	}
}

// TestGuestNewCID gives a guest another CID while it runs: its kernel is told by the
// event queue, and its connections are reset.
func TestGuestNewCID(t *testing.T) {
	b := NewBed(t, testguest.Config{})
	const newCID = 77
	to := Call[vsock.Addr](t, b.Guest, guestpeer.CmdListen, guestpeer.Listen{Port: 1024, Service: guestpeer.ServiceEcho})
	c, err := vsock.Dial(t.Context(), b.Switch.Host(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if later, err := b.Device.SetCID(newCID); later || err != nil {
		t.Fatalf("SetCID: %v, %v", later, err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection with the old CID reads %v", err)
	}
	server := Call[vsock.Addr](t, b.Host, guestpeer.CmdListen, guestpeer.Listen{Port: 1025, Service: guestpeer.ServiceEcho})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var from guestpeer.Outcome
	for from.Local.CID != newCID { // its kernel comes to it in its own time
		if err := b.Guest.Call(ctx, guestpeer.CmdDial, guestpeer.Dial{To: server}, &from); ctx.Err() != nil {
			t.Fatalf("the guest's connections come from %v: %v", from.Local, err)
		}
	}
	to.CID = newCID
	back, err := vsock.Dial(t.Context(), b.Switch.Host(), to)
	if err != nil {
		t.Fatalf("connecting to the new CID: %v", err)
	}
	defer back.Close()
	if _, err := vsock.Dial(t.Context(), b.Switch.Host(), vsock.Addr{CID: CID, Port: 1024}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to the old CID: %v", err)
	}
}
