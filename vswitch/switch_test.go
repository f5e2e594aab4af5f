package vswitch

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

func TestBadCID(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	if _, err := sw.AddContext(ContextConfig{CID: 7}); err != nil {
		t.Fatal(err)
	}
	for cid, want := range map[uint32]string{
		0: "reserved", 1: "reserved", 2: "reserved", 0xffffffff: "reserved",
		7: "CID 7 is in use by context 7; remove that first or choose another",
	} {
		if _, err := sw.AddContext(ContextConfig{CID: cid}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CID %d: %v, want %q", cid, err, want)
		}
	}
}

func TestRemovedContext(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	ctx, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	c1, c2, err := connect(t, sw, from(t, ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if err := ctx.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c2.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the host's end: %v", err)
	}
	if _, err := c1.Read(make([]byte, 1)); err == nil {
		t.Error("the end that was closed reads on")
	}
	if _, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: 3, Port: 1}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to it: %v", err)
	}
	if _, err := vsock.Dial(t.Context(), ctx, vsock.Addr{CID: 2, Port: 1}); err == nil {
		t.Error("it connects still")
	}
	if err := ctx.Close(); err == nil {
		t.Error("closed twice without an error")
	}
	again, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatalf("its CID is not free: %v", err)
	}
	if c1, c2, err = connect(t, sw, from(t, again)); err != nil {
		t.Fatal(err)
	}
	_ = c1.Close()
	_ = c2.Close()
}

// TestPolicy has contexts reach the host, and not one another.
func TestPolicy(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	a, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	b, err := sw.AddContext(ContextConfig{CID: 4})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := vsock.Listen(t.Context(), b, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := vsock.Dial(t.Context(), a, vsock.Addr{CID: 4, Port: 1024}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("3 to 4: %v", err)
	}
	if c, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: 4, Port: 1024}); err != nil {
		t.Errorf("host to 4: %v", err)
	} else {
		_ = c.Close()
	}
	if got, want := a.Counters(), (Counters{Denied: 1}); got != want {
		t.Errorf("counters %+v, want %+v", got, want)
	}
}

// sent keeps the headers that come to it.
type sent []packet.Header

func (s *sent) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	*s = append(*s, p.Header)
	return int(p.Len), true
}

func TestPort(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    packet.Header
		want Counters
		rst  bool
	}{
		{"forged source", packet.Header{SrcCID: 4, DstCID: 2, Op: packet.OpRequest}, Counters{Forged: 1}, false},
		{"forged as the host", packet.Header{SrcCID: 2, DstCID: 2, Op: packet.OpRequest}, Counters{Forged: 1}, false},
		{"source with high bits", packet.Header{SrcCID: 1<<32 | 3, DstCID: 2, Op: packet.OpRequest}, Counters{Forged: 1}, false},
		{"no such CID", packet.Header{SrcCID: 3, DstCID: 99, Op: packet.OpRequest}, Counters{Unreachable: 1}, true},
		{"destination with high bits", packet.Header{SrcCID: 3, DstCID: 1<<32 | 2, Op: packet.OpRequest}, Counters{Unreachable: 1}, true},
		{"RST to nobody", packet.Header{SrcCID: 3, DstCID: 99, Op: packet.OpReset}, Counters{Unreachable: 1}, false},
		{"another context", packet.Header{SrcCID: 3, DstCID: 5, Op: packet.OpRequest}, Counters{Denied: 1}, true},
		{"itself", packet.Header{SrcCID: 3, DstCID: 3, Op: packet.OpRequest}, Counters{Denied: 1}, true},
		{"a listener that is not there", packet.Header{SrcCID: 3, DstCID: 2, Op: packet.OpRequest}, Counters{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sw := New(Config{})
			defer sw.Close()
			if _, err := sw.AddContext(ContextConfig{CID: 5}); err != nil {
				t.Fatal(err)
			}
			ctx, err := sw.AddContext(ContextConfig{CID: 3})
			if err != nil {
				t.Fatal(err)
			}
			var got sent
			ctx.port.to = &got
			tc.h.Type, tc.h.SrcPort, tc.h.DstPort = packet.TypeStream, 1000, 2000
			ctx.port.Take(&packet.Packet{Header: tc.h}, nil)
			if c := ctx.Counters(); c != tc.want {
				t.Errorf("counters %+v, want %+v", c, tc.want)
			}
			if !tc.rst {
				if len(got) != 0 {
					t.Errorf("answered with %v", &got[0])
				}
				return
			}
			if want := tc.h.Reply(packet.OpReset); len(got) != 1 || got[0] != want {
				t.Errorf("answered with %v, want %v", got, &want)
			}
		})
	}
}

func TestClosedSwitch(t *testing.T) {
	sw := New(Config{})
	ctx, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	c1, c2, err := connect(t, sw, from(t, ctx))
	if err != nil {
		t.Fatal(err)
	}
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []interface{ Read([]byte) (int, error) }{c1, c2} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection lives on")
		}
	}
	if _, err := sw.AddContext(ContextConfig{CID: 4}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddContext: %v", err)
	}
	if err := sw.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}
