package stack

import (
	"io"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

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
		typ        vsock.Type
		proposed   uint32
		size, want uint32
	}{
		{"by default", nil, vsock.Stream, 1 << 16, 1 << 16, 1 << 18},
		{"the size was chosen", []option{{vsock.BufferSize, 1 << 16}}, vsock.Stream, 1 << 16, 1 << 16, 1 << 16},
		{"the largest size was chosen", []option{{vsock.BufferMaxSize, 100_000}}, vsock.Stream, 1 << 16, 1 << 16, 100_000},
		{"the smallest size was chosen", []option{{vsock.BufferMinSize, 1 << 17}}, vsock.Stream, 1 << 16, 1 << 17, 1 << 18},
		{"the peer chose its size", nil, vsock.Stream, 1 << 15, 1 << 15, 1 << 15},
		{"a message needs a known size", nil, vsock.Seqpacket, 1 << 16, 1 << 16, 1 << 16},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWire()
			st := New(Config{CID: 2, Out: w})
			defer st.Close()
			l := listenAs(t, st, tc.typ, 1)
			for _, o := range tc.options {
				if err := l.SetOption(o.o, o.v); err != nil {
					t.Fatal(err)
				}
			}
			s, p := opened(t, w, l, 5000, tc.proposed)
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
	l := listen(t, st, 1)
	const (
		growth = 1<<18 - 1<<16
		many   = growBudget/growth + 5
	)
	var sockets []vsock.Socket
	sum := 0
	for i := range many {
		s, p := opened(t, w, l, uint32(5000+i), 1<<16)
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
