package stack

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// TestMaxConns has a stack with one place left: it is taken, and then neither the peer nor
// a program here gets another, until one ends.
func TestMaxConns(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	l := listen(t, st, 3)
	other := func(i int) flow {
		return flow{vsock.Addr{CID: 2, Port: 80}, vsock.Addr{CID: 4, Port: uint32(i)}}
	}
	st.mu.Lock()
	for i := range MaxConns - 1 {
		st.conns[other(i)] = nil // it takes a place, and gets no packet
	}
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		for i := range MaxConns - 1 {
			delete(st.conns, other(i))
		}
	}()

	_, p := opened(t, w, l, 5000, 1<<16)
	p.SrcPort++
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpReset)
	if _, err := vsock.Dial(t.Context(), st, vsock.Addr{CID: 3, Port: 80}); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("one that is opened here: %v", err)
	}
	w.none(t)
	p.SrcPort--
	p.send(packet.OpReset, nil)
	opened(t, w, l, 5001, 1<<16)
}

// TestMaxBuffer asks for the largest receive buffer that there could be, and gets less.
func TestMaxBuffer(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	l := listen(t, st, 1)
	for _, o := range []vsock.Option{vsock.BufferMaxSize, vsock.BufferSize} {
		if err := l.SetOption(o, 1<<40); err != nil {
			t.Fatal(err)
		}
	}
	p := peer{st, packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Type: packet.TypeStream, BufAlloc: 1<<32 - 1}}
	p.send(packet.OpRequest, nil)
	if h := w.next(t, packet.OpResponse); h.BufAlloc != maxBuffer {
		t.Errorf("%d bytes of credit are given, want %d", h.BufAlloc, maxBuffer)
	}
}

// TestProposedBuffer has peers propose a size: as much as is allowed by default, and more.
func TestProposedBuffer(t *testing.T) {
	most := uint32(vsock.DefaultBufferMaxSize)
	for _, tc := range []struct{ proposed, want uint32 }{
		{most, most},
		{most + 1, uint32(vsock.DefaultBufferSize)},
		{1<<32 - 1, uint32(vsock.DefaultBufferSize)},
	} {
		t.Run(fmt.Sprint(tc.proposed), func(t *testing.T) {
			w := newWire()
			st := New(Config{CID: 2, Out: w})
			defer st.Close()
			listen(t, st, 1)
			p := peer{st, packet.Header{SrcCID: 3, SrcPort: 5000, DstCID: 2, DstPort: 1024, Type: packet.TypeStream, BufAlloc: tc.proposed}}
			p.send(packet.OpRequest, nil)
			if h := w.next(t, packet.OpResponse); h.BufAlloc != tc.want {
				t.Errorf("%d bytes of credit are given, want %d", h.BufAlloc, tc.want)
			}
		})
	}
}

// TestMaxEmpty sends messages of no bytes, for which no credit is needed.
func TestMaxEmpty(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	const size = 128
	s, p := opened(t, w, listenAs(t, st, vsock.Seqpacket, 1), 5000, size)
	defer s.Close()
	empty := func() {
		p.send(packet.OpRW, func(k *packet.Packet) { k.Flags = packet.EndOfMessage })
	}
	for range size + maxEmpty {
		empty()
	}
	w.none(t)
	empty()
	w.next(t, packet.OpReset)
}

// TestMaxDatagrams sends more datagrams of no bytes than a socket keeps: the first are there.
func TestMaxDatagrams(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	s, err := st.Socket(vsock.Datagram)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Bind(vsock.Addr{CID: vsock.CIDAny, Port: 1024}); err != nil {
		t.Fatal(err)
	}
	p := peer{st, packet.Header{SrcCID: 3, DstCID: 2, DstPort: 1024, Type: packet.TypeDatagram}}
	for p.SrcPort = range uint32(maxDatagrams + 10) {
		p.send(packet.OpRW, nil)
	}
	if err := s.SetNonblock(true); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(maxDatagrams) {
		if _, _, from, err := s.RecvFrom(make([]byte, 1), 0); err != nil || from.Port != i {
			t.Fatalf("datagram %d: from %v, %v", i, from, err)
		}
	}
	if _, _, from, err := s.RecvFrom(make([]byte, 1), 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("one too many: from %v, %v", from, err)
	}
}

// TestDefaultBacklog listens without a word about the backlog.
func TestDefaultBacklog(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	l, err := vsock.Listen(t.Context(), st, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := peer{st, packet.Header{SrcCID: 3, DstCID: 2, DstPort: 1024, Type: packet.TypeStream}}
	for p.SrcPort = range uint32(vsock.DefaultBacklog) {
		p.send(packet.OpRequest, nil)
		w.next(t, packet.OpResponse)
	}
	p.SrcPort = 5000
	p.send(packet.OpRequest, nil)
	w.next(t, packet.OpReset)
}
