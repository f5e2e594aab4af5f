package stack

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// offered gives a connection that the peer asks for at a port without a listener.
func offered(t *testing.T, typ packet.Type) (*Offer, peer, *wire) {
	t.Helper()
	w := newWire()
	offers := make(chan *Offer, 2)
	st := New(Config{CID: 2, Out: w, Unclaimed: func(o *Offer) bool { offers <- o; return true }})
	t.Cleanup(func() { _ = st.Close() })
	p := peer{st, packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Type: typ, BufAlloc: 1 << 16}}
	p.send(packet.OpRequest, nil)
	w.none(t) // until it is accepted, or refused
	return <-offers, p, w
}

func TestOfferAccept(t *testing.T) {
	for typ, want := range map[packet.Type]vsock.Type{
		packet.TypeStream:    vsock.Stream,
		packet.TypeSeqpacket: vsock.Seqpacket,
	} {
		o, p, w := offered(t, typ)
		if o.Type != want || o.Local != (vsock.Addr{CID: 2, Port: 1024}) || o.Remote != (vsock.Addr{CID: 3, Port: 5000}) {
			t.Errorf("offered: %+v", o)
		}
		s, err := o.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if h := w.next(t, packet.OpResponse); h.BufAlloc != 1<<16 || h.Type != typ {
			t.Errorf("RESPONSE: %v", &h)
		}
		if _, err := o.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepted twice: %v", err)
		}
		o.Refuse() // too late
		w.none(t)
		p.send(packet.OpRW, func(k *packet.Packet) {
			k.Flags, k.Payload = packet.EndOfMessage, [][]byte{[]byte("hello")}
		})
		buf := make([]byte, 10)
		n, _, err := s.Recv(buf, 0)
		if string(buf[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		_ = s.Close()
	}
}

func TestOfferRefuse(t *testing.T) {
	o, p, w := offered(t, packet.TypeStream)
	o.Refuse()
	w.next(t, packet.OpReset)
	o.Refuse()
	w.none(t)
	if _, err := o.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted after it was refused: %v", err)
	}
	if n := flows(p.st); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestOfferNotTaken has nobody take it.
func TestOfferNotTaken(t *testing.T) {
	w := newWire()
	asked := 0
	st := New(Config{CID: 2, Out: w, Unclaimed: func(*Offer) bool { asked++; return false }})
	defer st.Close()
	p := peer{st, packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 9, Type: packet.TypeStream}}
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpReset)
	p.send(packet.OpRW, nil) // no request
	w.next(t, packet.OpReset)
	if n := flows(st); n != 0 || asked != 1 {
		t.Errorf("%d connections are left, asked %d times", n, asked)
	}
	// A port with a listener is never offered, even if that has no room, or is of
	// another type.
	listen(t, st, 1)
	p.DstPort, p.Type = 1024, packet.TypeSeqpacket
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpReset)
	p.Type = packet.TypeStream
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpResponse)
	p.SrcPort++
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpReset)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// TestOfferGivenUp has the peer end the connection before it is accepted: nothing is
// sent then, which would be of another connection, from the same port.
func TestOfferGivenUp(t *testing.T) {
	for name, tc := range map[string]struct {
		end    func(p peer)
		answer packet.Op
	}{
		"RST":         {func(p peer) { p.send(packet.OpReset, nil) }, 0},
		"SHUTDOWN":    {func(p peer) { p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownBoth }) }, packet.OpReset},
		"gone":        {func(p peer) { p.st.PeerGone(3) }, 0},
		"disconnect":  {func(p peer) { p.st.Disconnect() }, 0},
		"the stack":   {func(p peer) { _ = p.st.Close() }, packet.OpReset},
		"asked again": {func(p peer) { p.send(packet.OpRequest, nil) }, packet.OpReset},
		"over credit": {func(p peer) { p.write(string(make([]byte, 1<<17))) }, packet.OpReset},
	} {
		for how, act := range map[string]func(*testing.T, *Offer){
			"accept": func(t *testing.T, o *Offer) {
				if s, err := o.Accept(); err == nil {
					t.Errorf("accepted: %v", s)
				}
			},
			"refuse": func(_ *testing.T, o *Offer) { o.Refuse() },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				o, p, w := offered(t, packet.TypeStream)
				tc.end(p)
				if tc.answer != 0 {
					w.next(t, tc.answer)
				}
				w.none(t)
				act(t, o)
				w.none(t)
				if n := flows(p.st); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		}
	}
}

// TestOfferAfterGivenUp has the peer ask again from the same port: the first offer,
// accepted late, does not answer the second.
func TestOfferAfterGivenUp(t *testing.T) {
	w := newWire()
	offers := make(chan *Offer, 2)
	st := New(Config{CID: 2, Out: w, Unclaimed: func(o *Offer) bool { offers <- o; return true }})
	defer st.Close()
	p := peer{st, packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Type: packet.TypeStream, BufAlloc: 1 << 16}}
	p.send(packet.OpRequest, nil)
	p.send(packet.OpReset, nil)
	p.send(packet.OpRequest, nil)
	first, second := <-offers, <-offers
	if _, err := first.Accept(); !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("the first: %v", err)
	}
	w.none(t)
	second.Refuse()
	w.next(t, packet.OpReset)
}

// TestOfferEarlyData has the peer send before it is answered, within its credit.
func TestOfferEarlyData(t *testing.T) {
	o, p, w := offered(t, packet.TypeStream)
	p.write("early")
	p.send(packet.OpShutdown, func(k *packet.Packet) { k.Flags = packet.ShutdownSend })
	w.none(t)
	s, err := o.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w.next(t, packet.OpResponse)
	got, err := io.ReadAll(readerOf(s))
	if string(got) != "early" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n, err := s.Send([]byte("late"), 0); n != 4 || err != nil {
		t.Errorf("the other direction: %d, %v", n, err)
	}
}

// readerOf reads a stream to its end.
func readerOf(s vsock.Socket) io.Reader { return endOf{s} }

// endOf is a stream that says io.EOF at its end, however the socket says that.
type endOf struct{ s vsock.Socket }

func (e endOf) Read(p []byte) (int, error) {
	n, _, err := e.s.Recv(p, 0)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}
