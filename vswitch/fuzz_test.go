package vswitch

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// FuzzPorts has guests send arbitrary packets: two that may talk to each other, and one
// that may talk to the host only. Their receive rings are full at any time, and the
// policy and the groups change. Its input is a script of steps of portStep bytes.
//
// Nothing gets to who may not have it, nothing is sent in another's name, no answer
// comes to what was not asked, what waits is bounded and is let go.
func FuzzPorts(f *testing.F) {
	for _, seed := range portSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := newPortBed(t)
			for ; len(script) >= portStep; script = script[portStep:] {
				b.step(script[:portStep])
			}
			b.end()
		})
	})
}

const (
	portStep   = 8
	fuzzPort   = 80 // of the host's listener, and of the guests'
	fuzzFirst  = 3  // CIDs of the guests are from here on
	fuzzGuests = 3
	fuzzLimit  = 8 // connections
	fuzzHalf   = 4 // of them half-open
	// fuzzBuffered is little: a script is short.
	fuzzBuffered = 16 << 10
	fuzzAlloc    = packet.MaxPayload
)

// asked is a connection that a guest may be answered on.
type asked struct {
	from, to             uint32
	fromPort, targetPort uint32
}

// portBed is a switch with three guests whose packets are made up.
type portBed struct {
	t      *testing.T
	sw     *Switch
	guests []*fakeGuest
	serial byte           // of payloads
	asked  map[asked]bool // REQUESTs that were sent, ever
}

func newPortBed(t *testing.T) *portBed {
	b := &portBed{t: t, sw: New(Config{}), asked: make(map[asked]bool)}
	l := Limits{Connections: fuzzLimit, HalfOpen: fuzzHalf, Buffered: fuzzBuffered, BufAlloc: fuzzAlloc}
	for i := range uint32(fuzzGuests) {
		b.guests = append(b.guests, joinFake(t, b.sw, fuzzFirst+i, l))
	}
	b.alone(true)
	s, err := b.sw.Host().Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(vsock.Addr{CID: vsock.CIDAny, Port: fuzzPort}); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(2); err != nil {
		t.Fatal(err)
	}
	return b
}

// alone takes the last guest out of the others' group.
func (b *portBed) alone(yes bool) {
	groups := []string{"g"}
	if yes {
		groups = nil
	}
	if err := b.guests[fuzzGuests-1].port.changeGroups(groups); err != nil {
		b.t.Fatal(err)
	}
}

// Kinds of steps, of which packets are the most.
const (
	portPacket = iota
	portRoom   = iota + 7
	portSettle
	portLeave
	portForget
	portGroups
	portSteps
)

func (b *portBed) step(s []byte) {
	g := b.guests[int(s[1])%fuzzGuests]
	switch kind := s[0] % portSteps; {
	case kind < portRoom:
		b.send(g, s)
	case kind == portRoom:
		g.mu.Lock()
		g.size = 1 + int(binary.LittleEndian.Uint16(s[4:]))
		g.early = int(s[3] & 1)
		g.room = 0
		g.mu.Unlock()
		g.give(int(int8(s[2])) % 16)
	case kind == portSettle:
		synctest.Wait()
	case kind == portLeave: // it reboots
		synctest.Wait()
		b.seen()
		g.port.leave()
		g.wake()
		synctest.Wait()
		for _, k := range b.guests {
			if n := k.port.backlogHeld(g.port); k != g && n != 0 {
				b.t.Fatalf("%d bytes wait for one that has gone", n)
			}
		}
	case kind == portForget:
		b.sw.SetPolicy(Policy{})
	case kind == portGroups:
		synctest.Wait()
		b.seen() // what the last guest has had until now
		b.alone(true)
	}
	b.seen()
}

// backlogHeld is how many bytes wait for another port.
func (p *port) backlogHeld(to *port) int {
	p.backlogMu.Lock()
	defer p.backlogMu.Unlock()
	k := p.backlogs[to]
	if k == nil {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bytes
}

// send sends a packet of a guest: mostly in its own name.
func (b *portBed) send(g *fakeGuest, s []byte) {
	own := g.port.cid.Load()
	n := int(binary.LittleEndian.Uint16(s[4:]))
	h := packet.Header{
		SrcCID: uint64(own), SrcPort: fuzzPort + uint32(s[6]&3), DstPort: fuzzPort + uint32(s[6]>>2&3),
		DstCID: uint64(vsock.CIDHost + uint32(s[2]>>4&7)),
		Type:   packet.Type(s[7]&3) + 1, Op: packet.Op(s[2] & 15), Flags: uint32(s[7] >> 2 & 3),
		BufAlloc: 1 << (s[3] & 31), FwdCnt: uint32(s[3]),
	}
	switch s[7] >> 5 {
	case 1:
		h.SrcCID++ // another guest's
	case 2:
		h.SrcCID |= 1 << 32
	case 3:
		h.DstCID |= 1 << 32
	case 4:
		h.DstCID = uint64(own)
	case 5:
		h.DstCID = uint64(vsock.CIDAny)
	}
	p := &packet.Packet{Header: h}
	if h.Op == packet.OpRW {
		if b.serial++; b.serial == 0 {
			b.serial++ // zeros are what a payload is after its time
		}
		payload := slices.Repeat([]byte{b.serial}, n)
		p.Len, p.Payload = uint32(n), [][]byte{payload[:n/2], payload[n/2:]}
	}
	forged := h.SrcCID != uint64(own)
	if h.Op == packet.OpRequest && !forged {
		b.asked[asked{own, uint32(h.DstCID), h.SrcPort, h.DstPort}] = true
	}
	before := g.port.counters.forged.Load()
	if n := g.sendAll(p); n != int(p.Len) {
		b.t.Fatalf("%v: %d", &h, n)
	}
	if counted := g.port.counters.forged.Load() != before; counted != forged {
		b.t.Fatalf("%v from CID %d: counted as forged: %v", &h, own, counted)
	}
	for _, s := range p.Payload { // it was borrowed
		clear(s)
	}
	b.bounded(g)
}

// bounded holds what a guest takes of the switch against its limits.
func (b *portBed) bounded(g *fakeGuest) {
	i := g.port.info()
	if i.Connections > fuzzLimit || i.HalfOpen > fuzzHalf || i.Buffered > fuzzBuffered || i.Buffered < 0 {
		b.t.Fatalf("CID %d takes more than its limits: %+v", i.CID, i)
	}
}

// seen holds what came to the guests against what may.
func (b *portBed) seen() {
	for n, g := range b.guests {
		cid := g.port.cid.Load()
		for _, p := range g.take() {
			src := uint32(p.SrcCID)
			// What nobody is to be reached at is refused in its name.
			refusal := p.Op == packet.OpReset
			switch {
			case p.SrcCID>>32 != 0 && !refusal, p.DstCID != uint64(cid):
				b.t.Fatalf("CID %d gets %v", cid, &p.Header)
			case src == cid && !refusal:
				b.t.Fatalf("CID %d gets %v, from itself", cid, &p.Header)
			case n == fuzzGuests-1 && src != vsock.CIDHost && !refusal,
				src == fuzzFirst+fuzzGuests-1 && !refusal:
				b.t.Fatalf("CID %d gets %v, which is not of its group", cid, &p.Header)
			case p.Op == packet.OpResponse && p.Type != packet.TypeDatagram && !b.asked[asked{cid, src, p.DstPort, p.SrcPort}]:
				b.t.Fatalf("CID %d gets %v, and has not asked", cid, &p.Header)
			case src != vsock.CIDHost && p.BufAlloc > fuzzAlloc:
				b.t.Fatalf("CID %d gets %v, with more credit than the limit", cid, &p.Header)
			case len(p.payload) != int(p.Len):
				b.t.Fatalf("CID %d gets %v with %d bytes", cid, &p.Header, len(p.payload))
			}
			for i := range len(p.payload) {
				if p.payload[i] != p.payload[0] || p.payload[i] == 0 {
					b.t.Fatalf("CID %d gets %v with bytes that nobody sent", cid, &p.Header)
				}
			}
		}
	}
}

// end has all guests take all: then nothing waits, and nothing is charged.
func (b *portBed) end() {
	for _, g := range b.guests {
		g.mu.Lock()
		g.room, g.early, g.size = -1, 0, packet.MaxPayload
		g.mu.Unlock()
		g.wake()
	}
	synctest.Wait()
	b.seen()
	for _, g := range b.guests {
		if n := g.port.info().Buffered; n != 0 {
			b.t.Fatalf("%d bytes of CID %d are charged, and nothing waits", n, g.port.cid.Load())
		}
		for _, to := range b.guests {
			if n := g.port.backlogHeld(to.port); n != 0 {
				b.t.Fatalf("%d bytes wait, and there is room", n)
			}
		}
	}
	if err := b.sw.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// portSeeds are conversations for the fuzzer to begin with.
func portSeeds() (seeds [][]byte) {
	const host, a, other = 0, 1, 2 // as destinations: CIDs from the host's on
	send := func(from, to byte, op packet.Op, n uint16, ports, kind byte) []byte {
		s := []byte{portPacket, from, byte(op) | to<<4, 16, 0, 0, ports, kind}
		binary.LittleEndian.PutUint16(s[4:], n)
		return s
	}
	room := func(who, n byte) []byte { return []byte{portRoom, who, n, 1, 100, 0, 0, 0} }
	settle := []byte{portSettle, 0, 0, 0, 0, 0, 0, 0}
	leave := func(who byte) []byte { return []byte{portLeave, who, 0, 0, 0, 0, 0, 0} }
	for _, script := range [][][]byte{
		{send(0, host, packet.OpRequest, 0, 0, 0), send(0, host, packet.OpRW, 500, 0, 0), send(0, host, packet.OpReset, 0, 0, 0)},
		{send(0, other, packet.OpRequest, 0, 0, 0), send(1, a, packet.OpResponse, 0, 0, 0), send(0, other, packet.OpRW, 900, 0, 0), send(1, a, packet.OpReset, 0, 0, 0)},
		{room(1, 0), send(0, other, packet.OpRequest, 0, 1, 0), send(0, other, packet.OpRW, 3000, 1, 0), send(0, other, packet.OpRW, 3000, 1, 0), room(1, 3), settle, room(1, 9), settle},
		{room(1, 0), send(0, other, packet.OpRequest, 0, 1, 0), send(0, other, packet.OpRW, 30000, 1, 0), room(1, 3), leave(1), send(0, other, packet.OpReset, 0, 1, 0), leave(0)},
		{send(1, a, packet.OpResponse, 0, 0, 0), send(2, a, packet.OpRequest, 0, 0, 0), send(0, 3, packet.OpRequest, 0, 0, 0), send(0, 5, packet.OpRequest, 0, 0, 0)},
		{send(0, host, packet.OpRequest, 0, 0, 1<<5), send(0, host, packet.OpRequest, 0, 0, 2<<5), send(0, host, packet.OpRW, 9, 0, 3<<5), send(0, host, packet.OpRW, 9, 0, 4<<5), send(0, host, packet.OpReset, 0, 0, 5<<5)},
		{send(0, other, packet.OpRW, 100, 0, 2), send(0, host, packet.OpRW, 100, 0, 2), {portForget, 0, 0, 0, 0, 0, 0, 0}, {portGroups, 0, 0, 0, 0, 0, 0, 0}},
		{send(0, other, packet.OpRequest, 0, 0, 0), send(0, other, packet.OpRequest, 0, 1, 0), send(0, other, packet.OpRequest, 0, 2, 0), send(0, other, packet.OpRequest, 0, 3, 0), send(0, other, packet.OpRequest, 0, 4, 0), send(1, a, packet.OpResponse, 0, 4, 0)},
		// So many packets that their bytes come round, the last ones wait, and others follow.
		slices.Concat([][]byte{send(0, other, packet.OpRequest, 0, 0, 0), send(1, a, packet.OpResponse, 0, 0, 0)},
			slices.Repeat([][]byte{send(0, other, packet.OpRW, 9, 0, 0)}, 254),
			[][]byte{room(1, 0), send(0, other, packet.OpRW, 9, 0, 0), send(0, other, packet.OpRW, 9, 0, 0), send(0, host, packet.OpRW, 9, 0, 0), room(1, 9), settle}),
	} {
		seeds = append(seeds, slices.Concat(script...))
	}
	return seeds
}
