package hybrid

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"vsockets.dev/internal/stack"
	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

const (
	guestCID   = 3
	silentPort = 5000 // of the guest: it never answers
)

// bed is a guest, in the form of a stack, with a server in front of it.
type bed struct {
	path   string
	host   *stack.Stack
	guest  *stack.Stack
	server *Server
	stack  *Stack
}

// newBed makes a bed whose server has a configuration, which need not be complete.
func newBed(t testing.TB, c ServerConfig) *bed {
	t.Helper()
	b := &bed{path: filepath.Join(t.TempDir(), "v")}
	b.host, b.guest = linked(t, nil)
	c.Path = b.path
	if c.Dial == nil {
		c.Dial = b.dial
	}
	b.server = NewServer(c)
	l, err := unixsocket.Listen(b.path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- b.server.Serve(l) }()
	b.stack = NewStack(b.path, StackConfig{})
	t.Cleanup(func() {
		_ = b.stack.Close()
		if err := b.server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		// What DialHost gave may be on its way to Close still.
		until(t, "the end of all connections", func() bool { return b.server.Counters().Active == 0 })
	})
	return b
}

// dial connects to the guest, of which one port never answers.
func (b *bed) dial(ctx context.Context, port uint32) (*vsock.Conn, error) {
	if port == silentPort {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return vsock.Dial(ctx, b.host, vsock.Addr{CID: guestCID, Port: port})
}

// listen listens in the guest.
func (b *bed) listen(t testing.TB) (*vsock.Listener, uint32) {
	t.Helper()
	l, err := vsock.Listen(t.Context(), b.guest, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(vsock.Addr).Port
}

// connected gives a connection from the host through the server, and its end in the
// guest.
func (b *bed) connected(t testing.TB) (host, guest *vsock.Conn) {
	t.Helper()
	l, port := b.listen(t)
	host, err := vsock.Dial(t.Context(), b.stack, vsock.Addr{CID: guestCID, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	guest, err = l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(); _ = guest.Close() })
	return host, guest
}

// raw connects to the server as a foreign client does.
func (b *bed) raw(t testing.TB) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: b.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tellsHangup: the server finds out when a client is gone that says nothing.
var tellsHangup bool
