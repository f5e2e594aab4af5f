package hybrid

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/stack"
	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// link passes packets on to a stack that is made later.
type link struct{ to *packet.Sink }

func (l link) Take(p *packet.Packet, w packet.Waker) (int, bool) { return (*l.to).Take(p, w) }

// newForwardBed makes a guest and a host's context whose ports, where nobody listens,
// are Unix sockets: what a switch makes of DialHost.
func newForwardBed(t testing.TB, c ServerConfig) (guest *stack.Stack, b *bed) {
	t.Helper()
	b = newBed(t, c)
	_, guest = linked(t, func(o *stack.Offer) bool {
		go b.forward(t.Context(), o)
		return true
	})
	return guest, b
}

// linked makes a host's stack and a guest's.
func linked(t testing.TB, unclaimed func(*stack.Offer) bool) (host, guest *stack.Stack) {
	t.Helper()
	var toGuest, toHost packet.Sink
	guest = stack.New(stack.Config{CID: guestCID, Out: link{&toHost}})
	host = stack.New(stack.Config{CID: vsock.CIDHost, Out: link{&toGuest}, Unclaimed: unclaimed})
	toGuest, toHost = guest, host
	t.Cleanup(func() {
		_ = guest.Close()
		_ = host.Close()
	})
	return host, guest
}

// forward takes a connection of the guest to a port of the host, if it can.
func (b *bed) forward(ctx context.Context, o *stack.Offer) {
	h, err := b.server.DialHost(ctx, o.Local.Port)
	if err != nil {
		o.Refuse()
		return
	}
	s, err := o.Accept()
	if err != nil {
		_ = h.Close()
		return
	}
	c, err := vsock.NewConn(s)
	if err != nil {
		_ = s.Close()
		_ = h.Close()
		return
	}
	_ = h.Join(c) // its outcome is what the ends of it see
}

func TestForward(t *testing.T) {
	guest, b := newForwardBed(t, ServerConfig{})
	l, err := unixsocket.Listen(b.path + "_52")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g, err := vsock.Dial(t.Context(), guest, vsock.Addr{CID: vsock.CIDHost, Port: 52})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	h, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	write(t, g, "question")
	if err := g.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expect(t, h, "question")
	expectEnd(t, h)
	write(t, h, "answer")
	_ = h.Close()
	expect(t, g, "answer")
	expectEnd(t, g)
	until(t, "the connection's end", func() bool { return b.server.Counters().Active == 0 })
}

func TestForwardRefused(t *testing.T) {
	guest, b := newForwardBed(t, ServerConfig{MaxConns: 1})
	dial := func(port uint32) error {
		c, err := vsock.Dial(t.Context(), guest, vsock.Addr{CID: vsock.CIDHost, Port: port})
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	}
	if err := dial(53); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	l, err := net.Listen("unix", b.path+"_54")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := dial(54); err != nil {
		t.Fatal(err)
	}
	if err := dial(54); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("beyond MaxConns: %v", err)
	}
	if n := b.server.Counters(); n.Refused != 1 || n.Limited != 1 || n.Active != 1 {
		t.Errorf("counters %+v", n)
	}
}

func TestDialHost(t *testing.T) {
	b := newBed(t, ServerConfig{})
	l, err := net.Listen("unix", b.path+"_0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.server.DialHost(cancelled, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	h, err := b.server.DialHost(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := b.server.Counters().Active; n != 1 {
		t.Errorf("%d active, want 1", n)
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := b.server.Counters().Active; n != 0 {
		t.Errorf("%d active, want none", n)
	}
	h, err = b.server.DialHost(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, guest := b.connected(t)
	if err := b.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Join(guest); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Join on a closed server: %v", err)
	}
	if _, err := b.server.DialHost(t.Context(), 0); !errors.Is(err, ErrServerClosed) {
		t.Errorf("DialHost on a closed server: %v", err)
	}
	if n := b.server.Counters().Active; n != 0 {
		t.Errorf("%d active, want none", n)
	}
	b.server = NewServer(ServerConfig{})
}
