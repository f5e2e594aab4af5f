package guests

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/vsock"
)

// Caller does on one side what it is told: a guest's agent, or a guestpeer.Peer on the host.
type Caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

// Call has a caller do something, which must succeed.
func Call[R any](t *testing.T, c Caller, name string, args any) R {
	t.Helper()
	var r R
	if err := c.Call(t.Context(), name, args, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Direction is one way across the boundary of a guest, or between two.
type Direction struct {
	Name           string
	Client, Server Caller
}

// Directions are the two ways across the boundary of the guest.
func (b *Bed) Directions() []Direction {
	return []Direction{
		{"guest to host", b.Guest, b.Host},
		{"host to guest", b.Host, b.Guest},
	}
}

// Transfer sends n bytes on each of so many connections at once, whose checksums the
// receiver checks.
func (d Direction) Transfer(t *testing.T, n int64, conns int) {
	t.Helper()
	to := Call[vsock.Addr](t, d.Server, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive})
	o := Call[guestpeer.Outcome](t, d.Client, guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: n, Conns: conns})
	t.Logf("%d MiB in %v", n*int64(conns)>>20, o.Took)
}

// TryTransfer is Transfer on one connection, for any goroutine.
func (d Direction) TryTransfer(ctx context.Context, n int64) error {
	var to vsock.Addr
	if err := d.Server.Call(ctx, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive}, &to); err != nil {
		return err
	}
	return d.Client.Call(ctx, guestpeer.CmdSend, guestpeer.Transfer{To: to, Bytes: n, Conns: 1}, nil)
}

// Refusals is how often Refused connects. What else the machine does takes its time too, and
// QEMU translates the code of the first: so the quickest tells how soon.
const Refusals = 3

// Refused says whether the client's connections to an address are refused, all of them, and
// how soon.
func (d Direction) Refused(t *testing.T, to vsock.Addr) (always bool, took time.Duration) {
	t.Helper()
	took = math.MaxInt64
	for range Refusals {
		o := Call[guestpeer.Outcome](t, d.Client, guestpeer.CmdDial, guestpeer.Dial{To: to})
		if took = min(took, o.Took); !o.Refused {
			return false, o.Took
		}
	}
	return true, took
}

// CheckAddresses has both ends of a connection name the same two addresses.
func (b *Bed) CheckAddresses(t *testing.T) {
	t.Helper()
	ln, err := vsock.Listen(t.Context(), b.Switch.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
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
	o := Call[guestpeer.Outcome](t, b.Guest, guestpeer.CmdDial, guestpeer.Dial{To: ln.Addr().(vsock.Addr)})
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if o.Local.CID != CID || o.Local != a.remote || o.Remote != a.local {
		t.Errorf("the guest has %v -> %v, the host %v <- %v", o.Local, o.Remote, a.local, a.remote)
	}
}

// CheckHalfClose sends to an echo service, ends the direction, and reads the rest.
// From the guest, each transfer does the same.
func (b *Bed) CheckHalfClose(t *testing.T) {
	t.Helper()
	to := Call[vsock.Addr](t, b.Guest, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceEcho})
	c, err := vsock.Dial(t.Context(), b.Switch.Host(), to)
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

// CheckNet holds connections against nettest. It has the guest relay one connection into
// another, so that both ends are here and all that is between them is real.
func (b *Bed) CheckNet(t *testing.T) {
	t.Helper()
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		ln, err := vsock.Listen(t.Context(), b.Switch.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
		if err != nil {
			return nil, nil, nil, err
		}
		defer ln.Close()
		relay := guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceRelay, To: ln.Addr().(vsock.Addr)} //nolint:forcetypeassert // a Listener's is
		var via vsock.Addr
		if err := b.Guest.Call(t.Context(), guestpeer.CmdListen, relay, &via); err != nil {
			return nil, nil, nil, err
		}
		c1, err := vsock.Dial(t.Context(), b.Switch.Host(), via)
		if err != nil {
			return nil, nil, nil, err
		}
		c2, err := ln.Accept()
		if err != nil {
			_ = c1.Close()
			return nil, nil, nil, err
		}
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}
