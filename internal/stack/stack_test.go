package stack

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

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
