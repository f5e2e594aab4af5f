package stack

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// FuzzPackets has a peer send arbitrary packets, in any order, to a stack whose
// application makes arbitrary calls, over a way that is full at any time. Its input
// is a script, of which a step is as long as script.step says.
//
// Whatever it is, what the stack sends keeps to the protocol, what is received is
// what was sent, nothing exceeds its limit, no wake-up is lost, and in the end nothing
// is left.
func FuzzPackets(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		b := newFuzzBed(t)
		for len(script) >= stepSize && len(b.sockets) < 32 {
			b.step(decodeStep(script))
			script = script[stepSize:]
			b.check()
		}
		b.end()
	})
}

// Ports of the stack under test. The peer's are from peerPort on.
const (
	streamPort = 1024 + iota
	seqpacketPort
	datagramPort
	deafPort // where nobody listens
	ownPort  // of sockets that connect, and those behind it
	peerPort = 5000
)

const (
	fuzzBacklog = 2
	peerCID     = 3
	ownCID      = 2
)

// fuzzBed is a stack, the application over it, and the peer under it.
type fuzzBed struct {
	t         *testing.T
	st        *Stack
	listeners []*fuzzSocket
	datagram  *fuzzSocket
	sockets   []*fuzzSocket
	views     map[*conn]*view

	// The way out.
	room    int // bytes that it has room for; below 0: any number
	mu      sync.Mutex
	waiters packet.Waiters

	delivered *packet.Packet // during its delivery
	refused   bool           // it has been answered with RST
}

// view is what the peer knows of a connection.
type view struct {
	alloc, fwd uint32 // credit that it has given
	got        uint32 // payload bytes that came
	shut       uint32 // what it was told
	over       bool   // an RST came
}

// fuzzSocket is a socket of the application.
type fuzzSocket struct {
	vsock.Socket
	c      *conn
	sent   uint32 // bytes that Send took
	read   uint32 // bytes that Recv gave
	parked []byte // of a Recv that waits
	closed bool

	was   vsock.Events // what Ready said last
	fired bool         // Watch has called
}

func newFuzzBed(t *testing.T) *fuzzBed {
	b := &fuzzBed{t: t, room: -1, views: make(map[*conn]*view)}
	b.st = New(Config{CID: ownCID, Out: b})
	for _, l := range []struct {
		typ  vsock.Type
		port uint32
	}{{vsock.Stream, streamPort}, {vsock.Seqpacket, seqpacketPort}, {vsock.Datagram, datagramPort}} {
		s := b.socket(l.typ, l.port)
		if l.typ == vsock.Datagram {
			b.datagram = s
		} else {
			b.must(s.Listen(fuzzBacklog))
			b.listeners = append(b.listeners, s)
		}
		s.fired = true // what it was is another thing than what it is
	}
	return b
}

func (b *fuzzBed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *fuzzBed) socket(typ vsock.Type, port uint32) *fuzzSocket {
	s, err := b.st.Socket(typ)
	b.must(err)
	b.must(s.Bind(vsock.Addr{CID: vsock.CIDAny, Port: port}))
	return b.add(s)
}

func (b *fuzzBed) add(socket vsock.Socket) *fuzzSocket {
	b.must(socket.SetNonblock(true))
	s := &fuzzSocket{Socket: socket, fired: true}
	s.c = socket.(*Socket).conn.Load()
	b.sockets = append(b.sockets, s)
	return s
}

// pattern is what both sides send, over and over. Its period is a prime, so that no
// two packets of a connection are alike.
var pattern = func() []byte {
	const period = 8191
	p := make([]byte, period+math.MaxUint16)
	for i := range p {
		p[i] = byte(i % period * 7)
	}
	return p
}()

// bytesAt gives n bytes of it, from an offset of a connection on.
func bytesAt(at uint32, n int) []byte { return pattern[at%(uint32(len(pattern))-math.MaxUint16):][:n] }

func isBytesAt(p []byte, at uint32) bool { return bytes.Equal(p, bytesAt(at, len(p))) }

// Take is the way out: it has room for what it has room for.
func (b *fuzzBed) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	n := int(p.Len)
	if b.room >= 0 && w != nil {
		fits := b.room - packet.HeaderSize
		if n > 0 && fits > 0 && fits < n {
			b.room = 0
			b.arrives(&packet.Packet{Header: p.Part(0, fits), Payload: cutTo(p.Payload, fits)})
			b.waiters.Add(w)
			return fits, false
		}
		if fits < n {
			b.waiters.Add(w)
			return 0, false
		}
		b.room = fits - n
	}
	b.arrives(p)
	return n, true
}

func cutTo(segs [][]byte, n int) [][]byte {
	return [][]byte{slices.Concat(segs...)[:n]}
}

// arrives holds a packet of the stack against what the peer knows.
func (b *fuzzBed) arrives(p *packet.Packet) {
	if p.Type == packet.TypeDatagram {
		return
	}
	f := flow{
		local:  vsock.Addr{CID: uint32(p.SrcCID), Port: p.SrcPort},
		remote: vsock.Addr{CID: uint32(p.DstCID), Port: p.DstPort},
	}
	c := b.st.conns[f]
	if c == nil || c.typ != p.Type {
		d := b.delivered
		if p.Op != packet.OpReset || d == nil || p.Header != d.Reply(packet.OpReset) || b.refused || d.Op == packet.OpReset {
			b.t.Fatalf("%v is sent, of no connection, and is no answer", &p.Header)
		}
		b.refused = true
		return
	}
	v := b.view(c)
	if v.over {
		b.t.Fatalf("%v is sent after the end", &p.Header)
	}
	if ahead := c.received - p.FwdCnt; ahead > c.window() || p.BufAlloc != c.window() {
		b.t.Fatalf("%v is sent: %d bytes wait, of %d", &p.Header, ahead, c.window())
	}
	switch p.Op {
	case packet.OpReset:
		v.over = true
	case packet.OpShutdown:
		if v.shut&^p.Flags != 0 {
			b.t.Fatalf("%v takes back %#x", &p.Header, v.shut)
		}
		v.shut = p.Flags
	case packet.OpRW:
		b.dataArrives(p, v)
	}
}

func (b *fuzzBed) dataArrives(p *packet.Packet, v *view) {
	data := slices.Concat(p.Payload...)
	switch inFlight := v.got - v.fwd; {
	case len(data) != int(p.Len) || len(data) > packet.MaxPayload:
		b.t.Fatalf("%v with %d bytes", &p.Header, len(data))
	case v.shut&packet.ShutdownSend != 0:
		b.t.Fatalf("%v after SHUTDOWN", &p.Header)
	case p.Len > 0 && uint64(inFlight)+uint64(p.Len) > uint64(v.alloc):
		b.t.Fatalf("%v, with %d in flight of %d", &p.Header, inFlight, v.alloc)
	case !isBytesAt(data, v.got):
		b.t.Fatalf("%v has other bytes than were sent, from %d on", &p.Header, v.got)
	}
	v.got += p.Len
}

// view is made when the first packet of a connection is seen.
func (b *fuzzBed) view(c *conn) *view {
	v := b.views[c]
	if v == nil {
		v = new(view)
		b.views[c] = v
		if d := b.delivered; d != nil && d.Op == packet.OpRequest {
			v.alloc, v.fwd = d.BufAlloc, d.FwdCnt
		}
	}
	return v
}

// deliver has the stack take a packet, whose payload is what comes next.
func (b *fuzzBed) deliver(h packet.Header) {
	f := flow{
		local:  vsock.Addr{CID: uint32(h.DstCID), Port: h.DstPort},
		remote: vsock.Addr{CID: uint32(h.SrcCID), Port: h.SrcPort},
	}
	p := &packet.Packet{Header: h}
	b.delivered, b.refused = p, false
	defer func() { b.delivered = nil }()
	c := b.st.conns[f]
	if c != nil && c.typ == h.Type && (h.SrcCID|h.DstCID)>>32 == 0 {
		v := b.view(c)
		if v.alloc, v.fwd = h.BufAlloc, h.FwdCnt; h.Op == packet.OpReset {
			v.over = true // nothing may answer
		}
	}
	if h.Len > 0 {
		at := uint32(0)
		if c != nil {
			at = c.received
		}
		all := slices.Clone(bytesAt(at, int(h.Len)))
		p.Payload = [][]byte{all[:len(all)/3], all[len(all)/3:]}
	}
	if n, ok := b.st.Take(p, nil); !ok || n != int(h.Len) {
		b.t.Fatalf("%v: %d, %v", &h, n, ok)
	}
	if c := b.st.conns[f]; c != nil {
		b.view(c) // now that it is known what credit it was opened with
	}
	for _, s := range p.Payload { // it was borrowed
		clear(s)
	}
}

// check holds every step's outcome against the limits, and what was told.
func (b *fuzzBed) check() {
	for _, c := range b.st.conns {
		if n := c.rx.len(); n > int(c.window()) || c.received-c.fwd > c.window() || c.messages.len() > n+maxEmpty {
			b.t.Fatalf("%d bytes in %d messages are kept, of %d", n, c.messages.len(), c.window())
		}
		if c.grown > 0 && (uint64(c.window()) > c.opt.max || c.opt.chosen) {
			b.t.Fatalf("the window is %d, of a buffer of %d, at most %d", c.window(), c.bufAlloc, c.opt.max)
		}
		if c.state == connecting && !c.requested {
			b.t.Fatal("it is connecting, and does not ask")
		}
	}
	if d := b.datagram.Socket.(*Socket).datagram.Load(); d.rx.len() > d.limit || d.messages.len() > maxDatagrams {
		b.t.Fatalf("%d bytes in %d datagrams are kept", d.rx.len(), d.messages.len())
	}
	for _, l := range b.listeners {
		if l := l.Socket.(*Socket).listener.Load(); l.reserved > fuzzBacklog || l.reserved != len(l.queue) && !l.closed {
			b.t.Fatalf("%d connections in a backlog of %d, %d reserved", len(l.queue), fuzzBacklog, l.reserved)
		}
	}
	grown := 0
	for _, s := range b.sockets {
		if s.c != nil && !s.c.gone {
			grown += int(s.c.grown)
		}
		b.checkReady(s)
	}
	if n := b.st.grown.Load(); n != int64(grown) || n > growBudget {
		b.t.Fatalf("windows have grown by %d bytes, %d are counted", grown, n)
	}
}

// checkReady finds the wake-up that is lost: something can be done that could not be
// before, and nobody was told.
func (b *fuzzBed) checkReady(s *fuzzSocket) {
	now := s.Ready()
	if now&^s.was != 0 && !s.fired {
		b.t.Fatalf("a %v socket is %#x, was %#x, and nobody was told", s.Type(), now, s.was)
	}
	if s.was = now; s.fired {
		s.fired = false
		s.Watch(vsock.PollIn|vsock.PollOut, func() { s.fired = true })
	}
}

// end closes the way for good, and then all there is.
func (b *fuzzBed) end() {
	b.setRoom(-1)
	for _, s := range b.sockets {
		b.unpark(s)
	}
	b.must(b.st.Close())
	for f, c := range b.st.conns {
		b.t.Fatalf("%v is left, in state %d", f, c.state)
	}
	for _, s := range b.sockets {
		if err := s.Close(); (err != nil) != s.closed {
			b.t.Fatalf("Close: %v", err)
		}
	}
	if n := b.st.grown.Load(); n != 0 {
		b.t.Fatalf("%d bytes of windows are never given back", n)
	}
	if n := len(b.st.ports.used) + len(b.st.datagrams.used); n != 0 {
		b.t.Fatalf("%d ports are left", n)
	}
}

// setRoom gives the way room, and wakes who waits for it.
func (b *fuzzBed) setRoom(n int) {
	b.room = n
	b.waiters.WakeAll(&b.mu)
}

func (b *fuzzBed) connect(s *fuzzSocket, to vsock.Addr) {
	if err := s.Connect(context.Background(), to); err == nil {
		b.t.Fatal("it is connected, before an answer")
	}
	s.c = s.Socket.(*Socket).conn.Load()
}

// recv takes what there is.
func (b *fuzzBed) recv(s *fuzzSocket, n int, flags vsock.Flags) {
	if s.parked != nil {
		b.unpark(s)
		return
	}
	p := make([]byte, n)
	got, _, err := s.Recv(p, flags|vsock.MsgTrunc)
	if s.Type() == vsock.Datagram {
		return
	}
	if err != nil {
		return
	}
	b.sees(s, p[:min(got, n)])
	if flags&vsock.MsgPeek == 0 {
		s.read += uint32(got)
	}
}

// sees holds what Recv gave against what comes next.
func (b *fuzzBed) sees(s *fuzzSocket, p []byte) {
	if !isBytesAt(p, s.read) {
		b.t.Fatalf("other bytes than were sent, from %d on", s.read)
	}
}

// park does what a Recv does that waits.
func (b *fuzzBed) park(s *fuzzSocket, n int) {
	if s.c == nil || s.parked != nil || s.Type() != vsock.Stream {
		return
	}
	p := make([]byte, n)
	got, _, wait, err := s.c.tryRecv(p, 0)
	switch {
	case wait:
		s.c.readSig.sent() // of an earlier time
		s.parked = p
	case err == nil:
		b.sees(s, p[:got])
		s.read += uint32(got)
	}
}

// unpark does what it does when it is woken.
func (b *fuzzBed) unpark(s *fuzzSocket) {
	if s.parked == nil {
		return
	}
	n := s.c.unpark()
	if n > 0 && !s.c.readSig.sent() {
		b.t.Fatal("a Recv that got bytes is not woken")
	}
	b.sees(s, s.parked[:n])
	s.read += uint32(n)
	s.parked = nil
	s.c.flush()
}

// send sends what comes next.
func (b *fuzzBed) send(s *fuzzSocket, n int) {
	if s.Type() == vsock.Datagram {
		_, _ = s.SendTo(make([]byte, n), 0, vsock.Addr{CID: peerCID, Port: peerPort})
		return
	}
	if s.Type() == vsock.Seqpacket && b.room >= 0 {
		return // one that has begun waits for room, and here nobody makes any
	}
	got, err := s.Send(bytesAt(s.sent, n), 0)
	if got > n {
		b.t.Fatalf("Send of %d: %d, %v", n, got, err)
	}
	s.sent += uint32(got)
}
