package stack

import (
	"io"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// opened gives a connection that a peer opened to port 1024 by a packet like h.
func opened(t *testing.T, st *Stack, w *wire, l vsock.Socket, h packet.Header) (vsock.Socket, peer) {
	t.Helper()
	h.SrcCID, h.DstCID, h.DstPort = 3, 2, 1024
	p := peer{st, h}
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpResponse)
	s, _, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, p
}

// keepUp has a peer fill the smallest window over and over, and reads it all. It gives
// the window that the peer knows in the end.
func keepUp(t *testing.T, s vsock.Socket, p peer, w *wire) (told uint32) {
	t.Helper()
	buf := make([]byte, 1<<14)
	for range 200 {
		p.send(packet.OpRW, func(k *packet.Packet) {
			k.Payload = [][]byte{buf}
			k.Flags = packet.EndOfMessage
		})
		if _, err := io.ReadFull(reader{s}, buf); err != nil {
			t.Fatal(err)
		}
		for len(w.packets) > 0 {
			h := w.next(t, packet.OpCreditUpdate)
			told = h.BufAlloc
		}
	}
	return told
}

func TestWindowGrows(t *testing.T) {
	type option struct {
		o vsock.Option
		v uint64
	}
	for _, tc := range []struct {
		name       string
		options    []option
		typ        packet.Type
		proposed   uint32
		size, want uint32
	}{
		{"by default", nil, packet.TypeStream, 1 << 16, 1 << 16, 1 << 18},
		{"the size was chosen", []option{{vsock.BufferSize, 1 << 16}}, packet.TypeStream, 1 << 16, 1 << 16, 1 << 16},
		{"the largest size was chosen", []option{{vsock.BufferMaxSize, 100_000}}, packet.TypeStream, 1 << 16, 1 << 16, 100_000},
		{"the smallest size was chosen", []option{{vsock.BufferMinSize, 1 << 17}}, packet.TypeStream, 1 << 16, 1 << 17, 1 << 18},
		{"the peer chose its size", nil, packet.TypeStream, 1 << 15, 1 << 15, 1 << 15},
		{"a message needs a known size", nil, packet.TypeSeqpacket, 1 << 16, 1 << 16, 1 << 16},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWire()
			st := New(Config{CID: 2, Out: w})
			defer st.Close()
			l := listenAs(t, st, tc.typ)
			for _, o := range tc.options {
				if err := l.SetOption(o.o, o.v); err != nil {
					t.Fatal(err)
				}
			}
			s, p := opened(t, st, w, l, packet.Header{SrcPort: 5000, Type: tc.typ, BufAlloc: tc.proposed})
			if got := keepUp(t, s, p, w); got != tc.want {
				t.Errorf("the peer may send %d bytes, want %d", got, tc.want)
			}
			if got, err := s.Option(vsock.BufferSize); got != uint64(tc.size) || err != nil {
				t.Errorf("BufferSize is %d, %v, want %d", got, err, tc.size)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n := st.grown.Load(); n != 0 {
				t.Errorf("%d bytes are never given back", n)
			}
		})
	}
}

func listenAs(t *testing.T, st *Stack, typ packet.Type) vsock.Socket {
	t.Helper()
	types := map[packet.Type]vsock.Type{packet.TypeStream: vsock.Stream, packet.TypeSeqpacket: vsock.Seqpacket}
	l, err := st.Socket(types[typ])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Bind(vsock.Addr{CID: vsock.CIDAny, Port: 1024}); err != nil {
		t.Fatal(err)
	}
	if err := l.Listen(8); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestWindowOfSlowReader has a reader that always leaves something: what is kept for
// it would only be more.
func TestWindowOfSlowReader(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	buf := make([]byte, 1<<14)
	p.write("x")
	for range 200 {
		p.write(string(buf))
		if _, err := io.ReadFull(reader{s}, buf); err != nil {
			t.Fatal(err)
		}
	}
	for len(w.packets) > 0 {
		if h := w.next(t, packet.OpCreditUpdate); h.BufAlloc != 1<<16 {
			t.Fatalf("the window is %d", h.BufAlloc)
		}
	}
}

// TestWindowOfEnded has what is left be read after the peer has gone: it takes nothing
// of the budget, and gives nothing back.
func TestWindowOfEnded(t *testing.T) {
	s, p, _ := accepted(t)
	defer s.Close()
	buf := make([]byte, 1<<14)
	p.write("x")
	for range 20 {
		p.write(string(buf))
		if _, err := io.ReadFull(reader{s}, buf); err != nil {
			t.Fatal(err)
		}
	}
	p.send(packet.OpReset, nil)
	if n, err := s.Read(buf); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n := p.st.grown.Load(); n != 0 {
		t.Errorf("the budget is off by %d bytes", n)
	}
}

// TestWindowBudget has more connections keep up than may be given a larger window.
func TestWindowBudget(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	l := listenAs(t, st, packet.TypeStream)
	const (
		growth = 1<<18 - 1<<16
		many   = growBudget/growth + 5
	)
	var sockets []vsock.Socket
	sum := 0
	for i := range many {
		s, p := opened(t, st, w, l, packet.Header{SrcPort: uint32(5000 + i), Type: packet.TypeStream, BufAlloc: 1 << 16})
		sockets = append(sockets, s)
		sum += int(keepUp(t, s, p, w)) - 1<<16
	}
	if sum > growBudget || sum < growBudget-growth || int64(sum) != st.grown.Load() {
		t.Errorf("%d bytes, of at most %d; %d are counted", sum, growBudget, st.grown.Load())
	}
	for _, s := range sockets {
		_ = s.Close()
	}
	if n := st.grown.Load(); n != 0 {
		t.Errorf("%d bytes are never given back", n)
	}
}
