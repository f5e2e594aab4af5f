package vswitch

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

const (
	guestCID = 3

	// refusedWithin is far below the connect timeout of 2 s, which a guest would
	// wait for if nobody answered it.
	refusedWithin = 50 * time.Millisecond

	guestTimeLimit = 5 * time.Minute
)

var initProgram = sync.OnceValues(func() (string, error) {
	return testguest.Build(context.Background(), buildDir, "vsockets.dev/internal/guestpeer/guestinit")
})

// bed is a switch with a real Linux guest.
type bed struct {
	sw    *Switch
	guest *testguest.Guest
	local *guestpeer.Peer // does on the host what the guest's agent does there
}

func newBed(t *testing.T) *bed { return newBedWith(t, testguest.Config{}) }

// newBedWith boots a guest as c says, which leaves out what every bed has.
func newBedWith(t *testing.T, c testguest.Config) *bed {
	t.Helper()
	testguest.Require(t)
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddGuest(GuestConfig{CID: guestCID, Socket: socket}); err != nil {
		t.Fatal(err)
	}
	c.Device = socket
	b := &bed{sw: sw, guest: bootWith(t, c), local: guestpeer.New(sw.Host())}
	t.Cleanup(func() { _ = b.local.Close() })
	return b
}

func boot(t *testing.T, socket string) *testguest.Guest {
	t.Helper()
	return bootWith(t, testguest.Config{Device: socket})
}

func bootWith(t *testing.T, c testguest.Config) *testguest.Guest {
	t.Helper()
	return bootAs(t, guestCID, c)
}

// bootAs boots a guest that must find that it has a CID.
func bootAs(t *testing.T, cid uint32, c testguest.Config) *testguest.Guest {
	t.Helper()
	g := tryBoot(t, cid, c)
	if g == nil {
		t.FailNow()
	}
	return g
}

// tryBoot is bootAs for any goroutine: if it fails, so does the test.
func tryBoot(t *testing.T, cid uint32, c testguest.Config) *testguest.Guest {
	t.Helper()
	var err error
	if c.Init, err = initProgram(); err != nil {
		t.Error(err)
		return nil
	}
	if c.TimeLimit == 0 {
		c.TimeLimit = guestTimeLimit
	}
	g, err := testguest.Boot(t.Context(), c)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { _ = g.Close() })
	if g.CID() != cid {
		t.Errorf("the guest's CID is %d, want %d", g.CID(), cid)
		return nil
	}
	return g
}

type caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

func call[R any](t *testing.T, c caller, name string, args any) R {
	t.Helper()
	var r R
	if err := c.Call(t.Context(), name, args, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// directions are the two ways across the boundary of the guest.
func (b *bed) directions() []direction {
	return []direction{
		{"guest to host", b.guest, b.local},
		{"host to guest", b.local, b.guest},
	}
}

type direction struct {
	name           string
	client, server caller
}

func TestGuest(t *testing.T) {
	b := newBed(t)
	for _, d := range b.directions() {
		t.Run(d.name, func(t *testing.T) {
			t.Run("1 GiB", func(t *testing.T) { testTransfer(t, d, 1<<30, 1) })
			t.Run("100 connections at once", func(t *testing.T) { testTransfer(t, d, 1<<20, 100) })
			t.Run("refused", func(t *testing.T) { testRefused(t, b, d) })
		})
	}
	t.Run("addresses", func(t *testing.T) { testAddresses(t, b) })
	t.Run("half-close from the host", func(t *testing.T) { testHalfClose(t, b) })
	t.Run("net", func(t *testing.T) { testNet(t, b) })
}

func testTransfer(t *testing.T, d direction, n int64, conns int) {
	to := call[vsock.Addr](t, d.server, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive})
	o := call[guestpeer.Outcome](t, d.client, guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: n, Conns: conns})
	t.Logf("%d MiB in %v", n*int64(conns)>>20, o.Took)
}

// testRefused connects to nobody, to a listener that has just closed, and from
// the guest to a context that is not there.
func testRefused(t *testing.T, b *bed, d direction) {
	to := call[vsock.Addr](t, d.server, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	if o := call[guestpeer.Outcome](t, d.client, guestpeer.CmdDial, guestpeer.Dial{To: to}); o.Refused {
		t.Fatal("a listener refuses")
	}
	call[any](t, d.server, guestpeer.CmdClose, guestpeer.Port{Port: to.Port})
	targets := []vsock.Addr{to, {CID: to.CID, Port: 9}}
	if d.client == caller(b.guest) {
		targets = append(targets, vsock.Addr{CID: 77, Port: 1})
	}
	for _, to := range targets {
		o := call[guestpeer.Outcome](t, d.client, guestpeer.CmdDial, guestpeer.Dial{To: to})
		if !o.Refused || o.Took > refusedWithin {
			t.Errorf("%v: refused %v, after %v", to, o.Refused, o.Took)
		}
	}
}

func testAddresses(t *testing.T, b *bed) {
	ln, err := vsock.Listen(t.Context(), b.sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type accepted struct {
		local, remote net.Addr
		err           error
	}
	got := make(chan accepted, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- accepted{err: err}
			return
		}
		defer c.Close()
		got <- accepted{c.LocalAddr(), c.RemoteAddr(), nil}
	}()
	o := call[guestpeer.Outcome](t, b.guest, guestpeer.CmdDial, guestpeer.Dial{To: ln.Addr().(vsock.Addr)})
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if o.Local.CID != guestCID || o.Local != a.remote || o.Remote != a.local {
		t.Errorf("the guest has %v -> %v, the host %v <- %v", o.Local, o.Remote, a.local, a.remote)
	}
}

// testHalfClose sends to an echo service, ends the direction, and reads the rest.
// From the guest, each transfer does the same.
func testHalfClose(t *testing.T, b *bed) {
	to := call[vsock.Addr](t, b.guest, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	c, err := vsock.Dial(t.Context(), b.sw.Host(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "over"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(c); string(got) != "over" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// testNet has the guest relay one connection into another, so that both ends are
// here and all that is between them is real.
func testNet(t *testing.T, b *bed) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		c1, c2, err := connect(t, b.sw, func(back vsock.Addr) (net.Conn, error) {
			var via vsock.Addr
			err := b.guest.Call(t.Context(), guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceRelay, To: back}, &via)
			if err != nil {
				return nil, err
			}
			return vsock.Dial(t.Context(), b.sw.Host(), via)
		})
		if err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}

// TestGuestKilled kills the guest in the middle of a transfer, each way. Then it
// boots again, on the same socket.
func TestGuestKilled(t *testing.T) {
	b := newBed(t)
	b.local.Close()
	socket := (*b.sw.routes.Load())[guestCID].owner.(*Guest).config.Socket
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
			ln, err := vsock.Listen(t.Context(), b.sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				_ = b.guest.Call(t.Context(), guestpeer.CmdSend, guestpeer.Transfer{To: ln.Addr().(vsock.Addr), Bytes: 1 << 40, Conns: 1}, nil)
			}()
			c, err := ln.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { _, err := transfer.Receive(c, progress); ended <- err }()
		} else {
			to := call[vsock.Addr](t, b.guest, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive})
			c, err := vsock.Dial(t.Context(), b.sw.Host(), to)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go func() { ended <- transfer.Send(c, 1<<40, 1, progress) }()
		}
		<-moving
		start := time.Now()
		b.guest.Kill()
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("receiving %v: the transfer ended with %v", receive, err)
		}
		t.Logf("receiving %v: an error %v after the kill", receive, time.Since(start))
		if _, err := vsock.Dial(t.Context(), b.sw.Host(), vsock.Addr{CID: guestCID, Port: 1}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to a dead guest: %v", err)
		}
		b.guest = boot(t, socket)
	}
}

// TestGuestsPeerKilled kills a guest that another one sends to. The sender's socket
// fails at once, and works again when the guest is back.
func TestGuestsPeerKilled(t *testing.T) {
	testguest.Require(t)
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	var sockets [2]string
	var guests [2]*testguest.Guest
	for i := range guests {
		sockets[i] = filepath.Join(t.TempDir(), "s")
		cid := uint32(guestCID + i)
		if _, err := sw.AddGuest(GuestConfig{CID: cid, Socket: sockets[i], Groups: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		guests[i] = bootAs(t, cid, testguest.Config{Device: sockets[i]})
	}
	to := call[vsock.Addr](t, guests[1], guestpeer.CmdListen, guestpeer.Listen{Port: 1024, Service: guestpeer.ServiceReceive})
	ended := make(chan error, 1)
	go func() {
		ended <- guests[0].Call(t.Context(), guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: 1 << 40, Conns: 1}, nil)
	}()
	for received(sw, guestCID+1) < 1<<20 {
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
	if o := call[guestpeer.Outcome](t, guests[0], guestpeer.CmdDial, guestpeer.Dial{To: to}); !o.Refused {
		t.Error("a dead guest accepts")
	}
	guests[1] = bootAs(t, guestCID+1, testguest.Config{Device: sockets[1]})
	if err := verified(t.Context(), direction{"", guests[0], guests[1]}, 1<<20); err != nil {
		t.Errorf("after it is back: %v", err)
	}
	for _, i := range sw.Contexts() {
		if i.Buffered != 0 || i.Connections > 2 {
			t.Errorf("CID %d: %d bytes wait, %d connections", i.CID, i.Buffered, i.Connections)
		}
	}
}

func received(sw *Switch, cid uint32) uint64 {
	for _, i := range sw.Contexts() {
		if i.CID == cid {
			return i.Received.Bytes
		}
	}
	return 0
}

// TestSwitchGone ends the switch in the middle of a guest's transfer.
func TestSwitchGone(t *testing.T) {
	b := newBed(t)
	to := call[vsock.Addr](t, b.local, guestpeer.CmdListen, guestpeer.Listen{Port: 1024, Service: guestpeer.ServiceReceive})
	ended := make(chan error, 1)
	go func() {
		ended <- b.guest.Call(t.Context(), guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: 1 << 40, Conns: 1}, nil)
	}()
	for sentBy(b.sw, guestCID) < 1<<20 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	start := time.Now()
	if err := b.sw.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the transfer succeeded")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the guest has its error %v after the end", took)
	}
}

func sentBy(sw *Switch, cid uint32) uint64 {
	for _, i := range sw.Contexts() {
		if i.CID == cid {
			return i.Sent.Bytes
		}
	}
	return 0
}

// TestGuestNewCID gives a guest another CID while it runs: its kernel is told by the
// event queue, and its connections are reset.
func TestGuestNewCID(t *testing.T) {
	b := newBed(t)
	const newCID = 77
	to := call[vsock.Addr](t, b.guest, guestpeer.CmdListen, guestpeer.Listen{Port: 1024, Service: guestpeer.ServiceEcho})
	c, err := vsock.Dial(t.Context(), b.sw.Host(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	guest := (*b.sw.routes.Load())[guestCID].owner.(*Guest)
	if later, err := guest.SetCID(newCID); later || err != nil {
		t.Fatalf("SetCID: %v, %v", later, err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection with the old CID reads %v", err)
	}
	server := call[vsock.Addr](t, b.local, guestpeer.CmdListen, guestpeer.Listen{Port: 1025, Service: guestpeer.ServiceEcho})
	eventually(t, "the guest's connections come from its new CID", func() bool {
		var o guestpeer.Outcome
		err := b.guest.Call(t.Context(), guestpeer.CmdDial, guestpeer.Dial{To: server}, &o)
		return err == nil && o.Local.CID == newCID
	})
	to.CID = newCID
	back, err := vsock.Dial(t.Context(), b.sw.Host(), to)
	if err != nil {
		t.Fatalf("connecting to the new CID: %v", err)
	}
	defer back.Close()
	if _, err := vsock.Dial(t.Context(), b.sw.Host(), vsock.Addr{CID: guestCID, Port: 1024}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to the old CID: %v", err)
	}
}
