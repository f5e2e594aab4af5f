package stack

import (
	"encoding/binary"
	"math"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// stepSize is how many bytes of a script make a step.
const stepSize = 8

// step is one thing that happens.
type step struct {
	what byte // an action
	who  byte // which socket, or which connection
	op   byte // packet.Op, or what else there is to choose
	kind byte // type and flags
	n    uint16
	// Numbers that the peer gives: see number.
	alloc, fwd byte
}

// actions, of which packets are the most.
const (
	doPacket = iota // up to doAccept
	doAccept = iota + 7
	doRecv
	doSend
	doShutdown
	doClose
	doRoom
	doConnect
	doPark
	doGone
	actions
)

func decodeStep(b []byte) step {
	return step{b[0] % actions, b[1], b[2], b[3], binary.LittleEndian.Uint16(b[4:]), b[6], b[7]}
}

func (s step) append(b []byte) []byte {
	b = append(b, s.what, s.who, s.op, s.kind)
	return append(binary.LittleEndian.AppendUint16(b, s.n), s.alloc, s.fwd)
}

// number makes of a byte what may be a size: powers of two, what is next to them, and
// the largest there is.
func number(b byte) uint32 {
	if b == math.MaxUint8 {
		return math.MaxUint32
	}
	return 1<<(b&31) + uint32(b>>5) - 2
}

func (b *fuzzBed) step(s step) {
	socket := b.sockets[int(s.who)%len(b.sockets)]
	switch {
	case s.what < doAccept:
		b.deliver(b.header(s))
	case s.what == doAccept:
		l := b.listeners[int(s.who)%len(b.listeners)]
		if a, _, err := l.Accept(); err == nil {
			b.add(a)
		}
	case s.what == doRecv:
		b.recv(socket, int(s.n), vsock.Flags(s.op)&vsock.MsgPeek)
	case s.what == doSend:
		b.send(socket, int(s.n))
	case s.what == doShutdown:
		_ = socket.Shutdown(vsock.How(s.op & 3))
	case s.what == doClose:
		if socket == b.datagram || socket.parked != nil {
			return // its Recv would be told, and not wait any more
		}
		if l, ok := socket.Socket.(interface{ SetLinger(sec int) error }); ok && s.op&1 != 0 {
			_ = l.SetLinger(0)
		}
		if err := socket.Close(); (err != nil) != socket.closed {
			b.t.Fatalf("Close: %v", err)
		}
		socket.closed = true
	case s.what == doRoom:
		b.setRoom(int(int16(s.n)))
	case s.what == doConnect:
		typ := vsock.Stream
		if s.kind&1 != 0 {
			typ = vsock.Seqpacket
		}
		c := b.socket(typ, ownPort+uint32(len(b.sockets)))
		b.must(c.SetOption(vsock.BufferMinSize, 1))
		b.must(c.SetOption(vsock.BufferSize, uint64(s.n)))
		b.connect(c, vsock.Addr{CID: peerCID, Port: peerPort + uint32(s.who&3)})
	case s.what == doPark:
		b.park(socket, int(s.n)+1)
	case s.what == doGone:
		b.st.PeerGone(peerCID)
	}
}

// header makes a packet of the peer: mostly of a connection that may be there.
func (b *fuzzBed) header(s step) packet.Header {
	h := packet.Header{
		SrcCID: peerCID, SrcPort: peerPort + uint32(s.who&3), DstCID: ownCID, DstPort: streamPort + uint32(s.who>>2&3),
		Type: packet.Type(s.kind&3) + 1, Op: packet.Op(s.op & 15),
		Flags: uint32(s.kind >> 2 & 3), BufAlloc: number(s.alloc), FwdCnt: number(s.fwd),
	}
	if s.who&0x40 != 0 { // of one that the stack opened
		h.DstPort = ownPort + 3 + uint32(s.who>>2&15)
	}
	if s.op&0x10 != 0 {
		h.Flags |= packet.Renegotiated
	}
	switch s.op >> 5 { // CIDs that no switch would let pass
	case 1:
		h.SrcCID = uint64(ownCID)
	case 2:
		h.SrcCID = uint64(vsock.CIDLocal)
	case 3:
		h.SrcCID |= 1 << 32
	case 4:
		h.DstCID |= 1 << 32
	case 5:
		h.DstCID = uint64(vsock.CIDAny)
	}
	if h.Op == packet.OpRW || s.kind&0x10 != 0 {
		h.Len = uint32(s.n)
	}
	f := flow{vsock.Addr{CID: uint32(h.DstCID), Port: h.DstPort}, vsock.Addr{CID: uint32(h.SrcCID), Port: h.SrcPort}}
	if c := b.st.conns[f]; c != nil && s.kind&0x80 == 0 {
		h.Type = c.typ
		if s.kind&0x40 == 0 { // credit that is true
			h.FwdCnt = b.view(c).got - uint32(s.fwd)&31
		}
	}
	return h
}

// The peer's steps, of connection 0: from its first port to the listener for streams.
func peerSends(op packet.Op) step { return step{what: doPacket, op: byte(op), alloc: 16 | 2<<5} }

func (s step) with(change func(*step)) step {
	change(&s)
	return s
}

func (s step) flags(f uint32) step { return s.with(func(s *step) { s.kind |= byte(f) << 2 }) }
func (s step) bytes(n uint16) step { return s.with(func(s *step) { s.n = n }) }

// onSeqpacket has it be of a connection to the listener for messages.
func (s step) onSeqpacket() step { return s.with(func(s *step) { s.who |= 1 << 2; s.kind |= 1 }) }

// onOwn has it be of the first connection that the stack opens.
func (s step) onOwn() step { return s.with(func(s *step) { s.who |= 0x40 }) }

// fuzzSeeds are conversations, good and bad, for the fuzzer to begin with.
func fuzzSeeds() (seeds [][]byte) {
	var (
		request  = peerSends(packet.OpRequest)
		response = peerSends(packet.OpResponse)
		data     = peerSends(packet.OpRW).bytes(1000)
		end      = peerSends(packet.OpShutdown).flags(packet.ShutdownSend)
		over     = peerSends(packet.OpShutdown).flags(packet.ShutdownBoth)
		reset    = peerSends(packet.OpReset)
		news     = peerSends(packet.OpCreditUpdate)
		ask      = peerSends(packet.OpCreditRequest)

		accept   = step{what: doAccept}
		accepted = byte(3) // the first socket that is not the bed's own
		recv     = step{what: doRecv, who: accepted, n: 700}
		send     = step{what: doSend, who: accepted, n: 40000}
		shut     = step{what: doShutdown, who: accepted, op: byte(vsock.ShutWrite)}
		closes   = step{what: doClose, who: accepted}
		park     = step{what: doPark, who: accepted, n: 1500}
		full     = step{what: doRoom}
		narrow   = step{what: doRoom, n: 5000}
		free     = step{what: doRoom, n: math.MaxUint16}
		gone     = step{what: doGone}
		connect  = step{what: doConnect, n: 4096}
	)
	for _, script := range [][]step{
		// What a connection is like.
		{request, accept, data, recv, recv, ask, send, news, send, end, recv, shut, reset},
		{request, data, accept, recv, recv, closes, reset},
		{request, accept, park, data, data, recv, recv, recv, over},
		{request.onSeqpacket(), accept.with(func(s *step) { s.who = 1 }), data.onSeqpacket(), data.onSeqpacket().flags(packet.EndOfMessage),
			recv, send, over.onSeqpacket()},
		{connect, response.onOwn(), send, data.onOwn(), recv, closes, data.onOwn(), reset.onOwn()},
		{connect.with(func(s *step) { s.kind = 1 }), response.onOwn().with(func(s *step) { s.op |= 0x10 }), send, data.onOwn().flags(3), recv, over.onOwn()},
		{peerSends(packet.OpRW).bytes(9).with(func(s *step) { s.who, s.kind = 2<<2, 2 }), {what: doRecv, who: 2, n: 4}},
		// A way that is full.
		{full, request, accept, data, recv, ask, shut, closes, free},
		{request, accept, narrow, send, send, narrow, news, full, closes, narrow, free},
		{full, connect, connect, response.onOwn(), reset.onOwn(), free},
		// What is against the rules.
		{data, response, reset, end, news, ask, peerSends(99 & 15)},
		{request, request, request.with(func(s *step) { s.who = 1 }), request.with(func(s *step) { s.who = 2 }), request.with(func(s *step) { s.who = 3 })},
		{request, accept, end, data, send},
		{request, accept, response, recv},
		{request, accept, data.bytes(65535), data.bytes(65535), data.bytes(65535), recv},
		{request.with(func(s *step) { s.alloc = 0 }), accept, send, news.with(func(s *step) { s.alloc, s.fwd, s.kind = 255, 31, 0x40 }), send},
		{request, accept, news.with(func(s *step) { s.fwd, s.kind = 31, 0x40 }), send},
		{request, accept, data.bytes(65535), data.bytes(1), data.bytes(1), recv},
		{request, accept, data.onSeqpacket().with(func(s *step) { s.kind |= 0x80; s.who = 0 }), data},
		{connect, data.onOwn(), response.onOwn()},
		{connect, gone, response.onOwn(), request, gone, accept, recv, send},
		{connect, reset.onOwn(), connect, closes, response.onOwn()},
		// CIDs that no switch would let pass.
		{request.with(func(s *step) { s.op |= 1 << 5 }), request.with(func(s *step) { s.op |= 2 << 5 }), request.with(func(s *step) { s.op |= 3 << 5 }),
			request.with(func(s *step) { s.op |= 4 << 5 }), request.with(func(s *step) { s.op |= 5 << 5 }), accept, data.with(func(s *step) { s.op |= 2 << 5 })},
	} {
		var b []byte
		for _, s := range script {
			b = s.append(b)
		}
		seeds = append(seeds, b)
	}
	return seeds
}
