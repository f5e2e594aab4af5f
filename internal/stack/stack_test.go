package stack

import (
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

func TestRefusals(t *testing.T) {
	base := packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Type: packet.TypeStream}
	for _, tc := range []struct {
		name string
		h    packet.Header
		want bool // an RST
	}{
		{"no listener", packet.Header{DstPort: 7, Op: packet.OpRequest, Type: packet.TypeStream}, true},
		{"response without request", packet.Header{Op: packet.OpResponse, Type: packet.TypeStream}, true},
		{"data without connection", packet.Header{Op: packet.OpRW, Type: packet.TypeStream}, true},
		{"unknown op", packet.Header{Op: 99, Type: packet.TypeStream}, true},
		{"unknown type", packet.Header{Op: packet.OpRequest, Type: 77}, true},
		{"reset without connection", packet.Header{Op: packet.OpReset, Type: packet.TypeStream}, false},
		{"reset of unknown type", packet.Header{Op: packet.OpReset, Type: 77}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWire()
			st := New(Config{CID: 2, Out: w})
			defer st.Close()
			listen(t, st, 1)
			h := base
			h.Op, h.Type = tc.h.Op, tc.h.Type
			if tc.h.DstPort != 0 {
				h.DstPort = tc.h.DstPort
			}
			st.Take(&packet.Packet{Header: h}, nil)
			if !tc.want {
				w.none(t)
				return
			}
			rst := w.next(t, packet.OpReset)
			if rst.SrcPort != h.DstPort || rst.DstPort != h.SrcPort || rst.DstCID != 3 || rst.Type != h.Type {
				t.Errorf("RST is %v for %v", &rst, &h)
			}
		})
	}
}

func TestBacklog(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	l := listen(t, st, 2)
	p := peer{st, packet.Header{SrcCID: 3, DstCID: 2, DstPort: 1024, Type: packet.TypeStream}}
	request := func() { p.SrcPort++; p.send(packet.OpRequest, nil) }
	request()
	request()
	w.next(t, packet.OpResponse)
	w.next(t, packet.OpResponse)
	request()
	w.next(t, packet.OpReset)
	if _, _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	request()
	w.next(t, packet.OpResponse)
	_ = l.Close() // resets the two that nobody accepted
	w.next(t, packet.OpReset)
	w.next(t, packet.OpReset)
	w.none(t)
}

// TestPeerRules has the peer break the protocol: each ends the connection with
// an RST and ECONNRESET. Another connection of the same peer goes on.
func TestPeerRules(t *testing.T) {
	for name, breach := range map[string]func(peer){
		"more than its credit": func(p peer) {
			for range 2 {
				p.write(string(make([]byte, 1<<16)))
			}
		},
		"data after shutdown": func(p peer) {
			p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownSend })
			p.write("x")
		},
		"second request":   func(p peer) { p.send(packet.OpRequest, nil) },
		"stray response":   func(p peer) { p.send(packet.OpResponse, nil) },
		"unknown op":       func(p peer) { p.send(42, nil) },
		"invalid op":       func(p peer) { p.send(packet.OpInvalid, nil) },
		"credit and a bit": func(p peer) { p.write(string(make([]byte, 1<<16))); p.write("x") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire()
			st := New(Config{CID: 2, Out: w})
			defer st.Close()
			l := listen(t, st, 2)
			s, p := opened(t, w, l, 5000, 1<<16)
			other, q := opened(t, w, l, 5001, 1<<16)
			breach(p)
			if h := w.next(t, packet.OpReset); h.DstPort != p.SrcPort {
				t.Errorf("RST is %v", &h)
			}
			w.none(t)
			if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Send: %v", err)
			}
			p.write("x") // the flow is over
			w.next(t, packet.OpReset)

			q.write("y")
			b := make([]byte, 2)
			if n, err := other.Read(b); n != 1 || b[0] != 'y' || err != nil {
				t.Errorf("the other one reads %q, %v", b[:n], err)
			}
			if _, err := other.Write([]byte("z")); err != nil {
				t.Errorf("the other one: %v", err)
			}
			w.next(t, packet.OpRW)
		})
	}
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

func TestEnds(t *testing.T) {
	for _, tc := range []struct {
		name    string
		end     func(p peer)
		recv    error // after "hello"
		send    error
		answers int // RSTs that the peer gets
	}{
		{"shutdown both", func(p peer) {
			p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownBoth })
		}, io.EOF, syscall.EPIPE, 1},
		{"shutdown in two steps", func(p peer) {
			p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownSend })
			p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownReceive })
		}, io.EOF, syscall.EPIPE, 1},
		{"shutdown send", func(p peer) {
			p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownSend })
		}, io.EOF, nil, 0},
		{"reset", func(p peer) { p.send(packet.OpReset, nil) }, syscall.ECONNRESET, syscall.ECONNRESET, 0},
		{"reset after shutdown send", func(p peer) {
			p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownSend })
			p.send(packet.OpReset, nil)
		}, io.EOF, syscall.EPIPE, 0},
		{"context gone", func(p peer) { p.st.PeerGone(3) }, syscall.ECONNRESET, syscall.ECONNRESET, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, p, w := accepted(t)
			defer s.Close()
			p.write("hello")
			tc.end(p)
			for range tc.answers {
				w.next(t, packet.OpReset)
			}
			w.none(t)
			if got, err := recvAll(t, s); got != "hello" || !errors.Is(err, tc.recv) {
				t.Errorf("Recv: %q, %v; want hello, %v", got, err, tc.recv)
			}
			if _, err := s.Write([]byte("x")); !errors.Is(err, tc.send) {
				t.Errorf("Send: %v, want %v", err, tc.send)
			}
		})
	}
}

// TestClose follows the flow until it is free: the peer answers, or does not.
func TestClose(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, p, w := accepted(t)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if h := w.next(t, packet.OpShutdown); h.Flags != packet.ShutdownBoth {
				t.Errorf("SHUTDOWN flags %#x", h.Flags)
			}
			p.write("late data is dropped")
			w.none(t)
			if answers {
				p.send(packet.OpReset, nil)
			} else {
				start := time.Now()
				w.next(t, packet.OpReset)
				if d := time.Since(start); d != closeTimeout {
					t.Errorf("RST after %v", d)
				}
			}
			w.none(t)
			synctest.Wait()
			if n := flows(p.st); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// TestCreditWraps moves more than 4 GiB past the counters by starting them short
// of the wrap.
func TestCreditWraps(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	const start = ^uint32(0) - 100
	c.sent, c.peerFwd = start, start
	c.received, c.fwd = start, start
	c.told.Store(start)
	c.known = start

	buf := make([]byte, 200)
	if n, err := s.Write(buf); n != 200 || err != nil {
		t.Fatal(n, err)
	}
	if h := w.next(t, packet.OpRW); h.Len != 200 || h.FwdCnt != start {
		t.Errorf("RW: %v", &h)
	}
	c.mu.Lock()
	free := c.free()
	c.mu.Unlock()
	if free != 1<<16-200 {
		t.Errorf("free credit %d", free)
	}
	for range 1000 {
		p.write(string(buf))
		if n, err := io.ReadFull(reader{s}, buf); n != 200 || err != nil {
			t.Fatal(n, err)
		}
	}
	var last uint32
	for len(w.packets) > 0 {
		h := w.next(t, packet.OpCreditUpdate)
		last = h.FwdCnt
	}
	if got := last - start; got > 200_000 || got < 200_000-1<<15 {
		t.Errorf("the peer heard of %d bytes taken", got)
	}
}

// TestCreditOfCautiousPeer has a peer that sends no more than its own buffer would
// take, which is smaller than ours: it hears of free space before it is stuck.
func TestCreditOfCautiousPeer(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	c.mu.Lock()
	c.bufAlloc = 8 << 20
	c.mu.Unlock()
	buf := make([]byte, 1<<16) // all of the peer's
	p.write(string(buf))
	if _, err := io.ReadFull(reader{s}, buf); err != nil {
		t.Fatal(err)
	}
	if len(w.packets) == 0 {
		t.Fatal("the peer hears nothing")
	}
	if h := w.next(t, packet.OpCreditUpdate); h.FwdCnt < 1<<15 {
		t.Errorf("it hears of %d bytes taken", h.FwdCnt)
	}
}

// TestCreditOfBoldPeer has a peer that sends more than its own buffer would take. Once it is
// seen, it hears of free space at half of ours.
func TestCreditOfBoldPeer(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	const window = 1 << 18 // the peer has 1 << 16
	c.mu.Lock()
	c.bufAlloc = window
	c.mu.Unlock()
	some := make([]byte, 1<<14)
	for _, tc := range []struct {
		before int // written before it is read
		want   []uint32
	}{
		{1 << 16, []uint32{1 << 15, 1 << 16}}, // as much as a cautious one might
		{window, []uint32{1<<16 + window/2, 1<<16 + window}},
	} {
		for range tc.before / len(some) {
			p.write(string(some))
		}
		for range tc.before / len(some) {
			if _, err := io.ReadFull(reader{s}, some); err != nil {
				t.Fatal(err)
			}
		}
		var told []uint32
		for len(w.packets) > 0 {
			h := w.next(t, packet.OpCreditUpdate)
			told = append(told, h.FwdCnt)
		}
		if !slices.Equal(told, tc.want) {
			t.Errorf("after %d bytes at a time it hears of %d, want %d", tc.before, told, tc.want)
		}
	}
}

type reader struct{ s vsock.Socket }

func (r reader) Read(p []byte) (int, error) { return r.s.Read(p) }

func TestSendWaitsForCredit(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	done := make(chan error)
	go func() {
		n, err := s.Write(make([]byte, 1<<16+10))
		if n != 1<<16+10 {
			t.Errorf("sent %d", n)
		}
		done <- err
	}()
	if h := w.next(t, packet.OpRW); h.Len != 1<<16 {
		t.Errorf("first packet %v", &h)
	}
	w.next(t, packet.OpCreditRequest)
	w.none(t)
	p.send(packet.OpCreditUpdate, func(k *packet.Packet) { k.FwdCnt = 10 })
	if h := w.next(t, packet.OpRW); h.Len != 10 {
		t.Errorf("second packet %v", &h)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.send(packet.OpCreditRequest, nil)
	w.next(t, packet.OpCreditUpdate)
}

// TestSendNonsenseCredit has a peer that claims to have taken more than it got.
func TestSendNonsenseCredit(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	p.send(packet.OpCreditUpdate, func(k *packet.Packet) { k.FwdCnt = 1 << 31 })
	_ = s.SetWriteDeadline(time.Unix(1, 0))
	if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Send: %v", err)
	}
	for len(w.packets) > 0 {
		w.next(t, packet.OpCreditRequest)
	}
}

// TestRefusingSink has the way full: nothing is lost, and nothing is queued.
func TestRefusingSink(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	l := listen(t, st, 1)
	p := peer{st, packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Type: packet.TypeStream, BufAlloc: 100}}
	w.refuse = true
	p.send(packet.OpRequest, nil)
	s, _, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(vsock.ShutWrite); err != nil {
		t.Fatal(err)
	}
	w.none(t)
	if len(w.waiters) != 1 {
		t.Fatalf("%d waiters", len(w.waiters))
	}
	w.refuse = false
	w.waiters[0].Wake()
	w.next(t, packet.OpResponse)
	w.next(t, packet.OpShutdown)
	w.none(t)
}
