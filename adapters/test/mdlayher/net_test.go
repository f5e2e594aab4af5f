package mdlayher_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/vsock"
	"golang.org/x/net/nettest"
)

// guestCID is that of the guest which runs this, hostPort where an echo of its host
// listens.
const (
	guestCID = 3
	hostPort = 1024
)

func listen(t *testing.T) *vsock.Listener {
	t.Helper()
	l, err := vsock.ListenContextID(vsock.Local, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// pair gives the two ends of a connection.
func pair(t *testing.T) (dialed, accepted *vsock.Conn) {
	t.Helper()
	dialed, accepted, err := connect(listen(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialed.Close(); _ = accepted.Close() })
	return dialed, accepted
}

func connect(l *vsock.Listener) (dialed, accepted *vsock.Conn, err error) {
	a := l.Addr().(*vsock.Addr)
	if dialed, err = vsock.Dial(a.ContextID, a.Port, nil); err != nil {
		return nil, nil, err
	}
	c, err := l.Accept()
	if err != nil {
		_ = dialed.Close()
		return nil, nil, err
	}
	return dialed, c.(*vsock.Conn), nil
}

func TestNet(t *testing.T) {
	requireGuest(t)
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		l, err := vsock.ListenContextID(vsock.Local, 0, nil)
		if err != nil {
			return nil, nil, nil, err
		}
		defer l.Close()
		a, b, err := connect(l)
		if err != nil {
			return nil, nil, nil, err
		}
		return a, b, func() { _ = a.Close(); _ = b.Close() }, nil
	})
}

func TestContextID(t *testing.T) {
	requireGuest(t)
	if cid, err := vsock.ContextID(); cid != guestCID || err != nil {
		t.Errorf("%d, %v; want %d", cid, err, guestCID)
	}
}

func TestAddresses(t *testing.T) {
	requireGuest(t)
	for want, a := range map[string]*vsock.Addr{
		"hypervisor(0):10":          {ContextID: vsock.Hypervisor, Port: 10},
		"local(1):20":               {ContextID: vsock.Local, Port: 20},
		"host(2):30":                {ContextID: vsock.Host, Port: 30},
		"vm(3):40":                  {ContextID: 3, Port: 40},
		"vm(4294967295):4294967295": {ContextID: 1<<32 - 1, Port: 1<<32 - 1},
	} {
		if a.String() != want || a.Network() != "vsock" {
			t.Errorf("%s %s, want vsock %s", a.Network(), a, want)
		}
	}
	l, err := vsock.Listen(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a := l.Addr().(*vsock.Addr); a.ContextID != guestCID || a.Port < 1024 || a.Port == 1<<32-1 {
		t.Errorf("Listen(0) listens on %v", a)
	}
	if l.Addr() != l.Addr() {
		t.Error("not the same address at each call")
	}

	local := listen(t)
	dialed, accepted, err := connect(local)
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	defer accepted.Close()
	if diff := cmp.Diff(local.Addr(), dialed.RemoteAddr()); diff != "" {
		t.Errorf("RemoteAddr of Dial (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(local.Addr(), accepted.LocalAddr()); diff != "" {
		t.Errorf("LocalAddr of Accept (-want +got):\n%s", diff)
	}
	if near, far := dialed.LocalAddr().(*vsock.Addr), accepted.RemoteAddr().(*vsock.Addr); near.Port != far.Port || far.ContextID != vsock.Local {
		t.Errorf("%v is accepted from %v", near, far)
	}
}

// TestHost talks to the host.
func TestHost(t *testing.T) {
	requireGuest(t)
	c, err := vsock.DialContext(t.Context(), vsock.Host, hostPort, &vsock.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHalfClose(t *testing.T) {
	requireGuest(t)
	a, b := pair(t)
	if _, err := a.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "question" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err := b.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := a.Write([]byte("more")); !isBare(err, "write", syscall.EPIPE) {
		t.Errorf("writing after CloseWrite: %#v", err)
	}
}

func TestCloseRead(t *testing.T) {
	requireGuest(t)
	a, b := pair(t)
	if err := b.CloseRead(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // programs compare so
		t.Errorf("reading after CloseRead: %d, %v", n, err)
	}
	// The peer is told by a packet, which takes its time.
	end := time.Now().Add(10 * time.Second)
	for {
		_, err := a.Write([]byte("x"))
		if isBare(err, "write", syscall.EPIPE) {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("writing to who reads no more: %v", err)
		}
	}
}

// isBare looks for an error right inside of a net.OpError, as programs do.
func isBare(err error, op string, want error) bool {
	oe, ok := err.(*net.OpError)                                                      //nolint:errorlint // this is what is tested
	return ok && oe.Op == op && oe.Net == "vsock" && oe.Err == want && oe.Addr != nil //nolint:errorlint // this is what is tested
}

func TestDeadlines(t *testing.T) {
	requireGuest(t)
	a, _ := pair(t)
	l := listen(t)
	for name, tc := range map[string]struct {
		set func(time.Time) error
		do  func() error
	}{
		"accept": {l.SetDeadline, func() error { _, err := l.Accept(); return err }},
		"read":   {a.SetReadDeadline, func() error { _, err := a.Read(make([]byte, 1)); return err }},
		"write": {a.SetWriteDeadline, func() (err error) {
			for err == nil { // until the peer's buffer is full
				_, err = a.Write(make([]byte, 1<<16))
			}
			return err
		}},
	} {
		if err := tc.set(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		err := tc.do()
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v", name, err)
		}
		if !isBare(err, name, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %#v", name, err)
		}
		if err := tc.set(time.Time{}); err != nil {
			t.Error(err)
		}
	}
}

func TestDialContextEnds(t *testing.T) {
	requireGuest(t)
	a := listen(t).Addr().(*vsock.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := vsock.DialContext(ctx, a.ContextID, a.Port, nil)
	var oe *net.OpError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &oe) || oe.Op != "dial" {
		t.Errorf("%#v", err)
	}
}

func TestClose(t *testing.T) {
	requireGuest(t)
	l := listen(t)
	a, b, err := connect(l)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for name, c := range map[string]io.Closer{"conn": a, "listener": l} {
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("Close of the %s: %v", name, err)
			}
		}
	}
	_, read := a.Read(make([]byte, 1))
	_, write := a.Write([]byte("x"))
	for op, err := range map[string]error{"read": read, "write": write, "set": a.SetDeadline(time.Now())} {
		if !isBare(err, op, net.ErrClosed) {
			t.Errorf("%s after Close: %#v", op, err)
		}
	}
}

// TestCloseWakes: Close ends the calls that wait.
func TestCloseWakes(t *testing.T) {
	requireGuest(t)
	l := listen(t)
	a, b, err := connect(l)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ended := make(chan error, 2)
	go func() { _, err := l.Accept(); ended <- err }()
	go func() { _, err := a.Read(make([]byte, 1)); ended <- err }()
	if err := errors.Join(l.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("it ended without an error")
		}
	}
}
