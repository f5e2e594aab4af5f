package vsock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"vsockets.dev/compat/vsock"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock/vsocktest"
)

// What this package has in common with github.com/mdlayher/vsock is tested in a guest,
// with that beside it: adapters/test. Here it is on stacks of our own.

func TestMain(m *testing.M) { leaktest.Main(m) }

// pair gives the two ends of a connection from the host to its guest.
func pair(t testing.TB) (dialed, accepted *vsock.Conn, stop func()) {
	t.Helper()
	n := vsocktest.NewPair(t)
	l, err := vsock.Listen(0, &vsock.Config{Stack: n.Guest})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := l.Addr().(*vsock.Addr)
	if dialed, err = vsock.Dial(a.ContextID, a.Port, &vsock.Config{Stack: n.Host}); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted = c.(*vsock.Conn)
	return dialed, accepted, func() { _ = dialed.Close(); _ = accepted.Close() }
}

func TestNet(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b, stop := pair(t)
		return a, b, stop, nil
	})
}

func TestAddresses(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	near, far := a.LocalAddr().(*vsock.Addr), a.RemoteAddr().(*vsock.Addr)
	if near.ContextID != vsock.Host || far.ContextID != vsocktest.GuestCID {
		t.Errorf("%v -> %v", near, far)
	}
	if *b.LocalAddr().(*vsock.Addr) != *far || *b.RemoteAddr().(*vsock.Addr) != *near {
		t.Errorf("%v -> %v, accepted %v <- %v", near, far, b.LocalAddr(), b.RemoteAddr())
	}
}

func TestErrors(t *testing.T) {
	n := vsocktest.NewPair(t)
	host := &vsock.Config{Stack: n.Host}
	_, dial := vsock.Dial(3, 9, host)
	l, err := vsock.Listen(1024, host)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, listen := vsock.Listen(1024, host)
	_, other := vsock.ListenContextID(7, 1024, host)
	if err := l.SetDeadline(time.Now()); err != nil {
		t.Error(err)
	}
	_, accept := l.Accept()
	_, raw := l.SyscallConn()
	for _, tc := range []struct {
		err  error
		op   string
		is   error
		text string
	}{
		{dial, "dial", syscall.ECONNRESET, "dial vsock vm(3):9: connect: connection reset by peer"},
		{listen, "listen", syscall.EADDRINUSE, "listen vsock host(2):1024: bind: address already in use"},
		{other, "listen", syscall.EADDRNOTAVAIL, "listen vsock vm(7):1024: bind: cannot assign requested address"},
		{accept, "accept", os.ErrDeadlineExceeded, "accept vsock host(2):1024: i/o timeout"},
		{raw, "syscall-conn", errors.ErrUnsupported, ""},
	} {
		var oe *net.OpError
		if !errors.As(tc.err, &oe) || oe.Op != tc.op || oe.Net != "vsock" || oe.Addr == nil || oe.Source != nil || !errors.Is(tc.err, tc.is) {
			t.Errorf("%s: %#v", tc.op, tc.err)
		} else if tc.text != "" && tc.err.Error() != tc.text {
			t.Errorf("%q, want %q", tc.err, tc.text)
		}
	}
}

// TestReset: what our own stacks tell of a connection that is cut short.
func TestReset(t *testing.T) {
	n := vsocktest.NewPair(t)
	l, err := vsock.Listen(0, &vsock.Config{Stack: n.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := l.Addr().(*vsock.Addr)
	c, err := vsock.Dial(a.ContextID, a.Port, &vsock.Config{Stack: n.Guest})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	n.Drop()
	_, err = b.Read(make([]byte, 1))
	if oe, ok := err.(*net.OpError); !ok || oe.Err != syscall.ECONNRESET { //nolint:errorlint // programs compare so
		t.Errorf("%#v", err)
	}
}

func TestHalfClose(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); len(got) != 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFileListenerErrors(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = vsock.FileListener(f)
	var oe *net.OpError
	if !errors.As(err, &oe) || oe.Op != "listen" {
		t.Errorf("of %s: %#v", f.Name(), err)
	}
}

// BenchmarkConn shows that the layer costs no memory.
func BenchmarkConn(b *testing.B) {
	from, to, stop := pair(b)
	defer stop()
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := from.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(to, p); err != nil {
			b.Fatal(err)
		}
	}
}
