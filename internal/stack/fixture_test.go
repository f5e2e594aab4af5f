package stack

import (
	"testing"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// wire is the peer of a stack, played by the test: it keeps what it is sent.
type wire struct {
	packets chan packet.Header
	data    chan []byte
	refuse  bool // what is sent is refused
	waiters []packet.Waker
}

func newWire() *wire {
	return &wire{packets: make(chan packet.Header, 1024), data: make(chan []byte, 1024)}
}

func (w *wire) Take(p *packet.Packet, k packet.Waker) (int, bool) {
	if w.refuse {
		w.waiters = append(w.waiters, k)
		return 0, false
	}
	var data []byte
	for _, s := range p.Payload {
		data = append(data, s...)
	}
	w.packets <- p.Header
	w.data <- data
	return int(p.Len), true
}

// next gives the next packet, which must be there already or come.
func (w *wire) next(t *testing.T, want packet.Op) packet.Header {
	t.Helper()
	h := <-w.packets
	<-w.data
	if h.Op != want {
		t.Fatalf("got %v, want %v", &h, want)
	}
	return h
}

func (w *wire) none(t *testing.T) {
	t.Helper()
	select {
	case h := <-w.packets:
		t.Fatalf("unexpected packet: %v", &h)
	default:
	}
}

// peer is a connection's other end: its packets are made by hand.
type peer struct {
	st *Stack
	packet.Header
}

func (p peer) send(op packet.Op, change func(*packet.Packet)) {
	pkt := packet.Packet{Header: p.Header}
	pkt.Op = op
	if change != nil {
		change(&pkt)
	}
	for _, s := range pkt.Payload {
		pkt.Len += uint32(len(s))
	}
	p.st.Take(&pkt, nil)
}

func (p peer) write(s string) {
	p.send(packet.OpRW, func(k *packet.Packet) { k.Payload = [][]byte{[]byte(s)} })
}

// listen listens on port 1024, for streams.
func listen(t testing.TB, st *Stack, backlog int) vsock.Socket {
	t.Helper()
	return listenAs(t, st, vsock.Stream, backlog)
}

func listenAs(t testing.TB, st *Stack, typ vsock.Type, backlog int) vsock.Socket {
	t.Helper()
	s, err := st.Socket(typ)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(vsock.Addr{CID: vsock.CIDAny, Port: 1024}); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(backlog); err != nil {
		t.Fatal(err)
	}
	return s
}

// accepted gives a connection that the peer 3:5000 opened to 2:1024.
func accepted(t *testing.T) (vsock.Socket, peer, *wire) {
	t.Helper()
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	t.Cleanup(func() { _ = st.Close() })
	s, p := opened(t, w, listen(t, st, 1), 5000, 1<<16)
	return s, p, w
}

// opened gives a connection that the peer 3:port opened to a listener, and proposed a
// size for.
func opened(t *testing.T, w *wire, l vsock.Socket, port, bufAlloc uint32) (vsock.Socket, peer) {
	t.Helper()
	own := l.(*Socket)
	p := peer{own.st, packet.Header{SrcCID: 3, SrcPort: port, DstCID: 2, DstPort: 1024, Type: own.wire(), BufAlloc: bufAlloc}}
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpResponse)
	s, _, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func flows(st *Stack) int {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return len(st.conns)
}

func recvAll(t *testing.T, s vsock.Socket) (string, error) {
	t.Helper()
	var all []byte
	p := make([]byte, 100)
	for {
		n, err := s.Read(p)
		all = append(all, p[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}

type reader struct{ s vsock.Socket }

func (r reader) Read(p []byte) (int, error) { return r.s.Read(p) }
