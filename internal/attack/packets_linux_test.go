//go:build !race

package attack

import (
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// Of the honest contexts, b is one that serves: AddAttach gives it this CID.
const honestB = vswitch.DefaultAttachFirst + 1

// flood makes an attack that sends packets as fast as it can, which next gives.
func flood(next func(f *front, n uint32) packet.Header) func(*arena, func() bool) {
	return func(a *arena, on func() bool) {
		f := a.connect(guestSocket)
		defer f.close()
		for n := uint32(0); on(); n++ {
			f.send(next(f, n), on)
		}
	}
}

var packetAttacks = []attack{
	{
		name:   "forged source CIDs",
		broken: func(c vswitch.Counters) uint64 { return c.Forged },
		run: flood(func(f *front, n uint32) packet.Header {
			// As b, into its own transfer to a, and as any.
			h := f.to(vswitch.DefaultAttachFirst, packet.OpReset, n, 6000)
			h.SrcCID = []uint64{honestB, uint64(vsock.CIDHost), 0, uint64(vsock.CIDLocal), uint64(vsock.CIDAny), 1<<32 | attackerCID, 1<<64 - 1}[n%7]
			return h
		}),
	},
	{
		name:   "unknown ops",
		broken: func(c vswitch.Counters) uint64 { return c.Invalid },
		run: flood(func(f *front, n uint32) packet.Header {
			return f.to([]uint32{vsock.CIDHost, honestB}[n%2], packet.Op(n%4093*16+8), n, mutePort)
		}),
	},
	{
		name:   "unknown types",
		broken: func(c vswitch.Counters) uint64 { return c.Invalid },
		run: flood(func(f *front, n uint32) packet.Header {
			h := f.to([]uint32{vsock.CIDHost, honestB}[n%2], packet.OpRequest, n, mutePort)
			h.Type = packet.Type(4 + n%60000)
			return h
		}),
	},
	{
		name:   "destinations that are not there",
		broken: func(c vswitch.Counters) uint64 { return c.Unreachable },
		run: flood(func(f *front, n uint32) packet.Header {
			h := f.to(0, packet.OpRequest, n, 1)
			h.DstCID = uint64(n) * 0x9e3779b97f4a7c15
			return h
		}),
	},
	{
		name:   "RW before RESPONSE",
		broken: func(c vswitch.Counters) uint64 { return c.OutOfOrder },
		run:    early,
	},
	{
		name:   "RW of no connection",
		broken: func(c vswitch.Counters) uint64 { return c.Stray },
		run: flood(func(f *front, n uint32) packet.Header {
			h := f.to(vsock.CIDHost, packet.OpRW, n, mutePort)
			h.Len = 1000
			return h
		}),
	},
	{
		name:   "RESPONSE without REQUEST",
		broken: func(c vswitch.Counters) uint64 { return c.Unsolicited },
		run: flood(func(f *front, n uint32) packet.Header {
			return f.to([]uint32{vsock.CIDHost, honestB}[n%2], packet.OpResponse, n, mutePort)
		}),
	},
	{
		name:   "RST storm",
		broken: func(c vswitch.Counters) uint64 { return c.Stray },
		run: flood(func(f *front, n uint32) packet.Header {
			return f.to([]uint32{vsock.CIDHost, honestB}[n%2], packet.OpReset, n, mutePort)
		}),
	},
	{
		name:   "requests and RSTs",
		broken: func(c vswitch.Counters) uint64 { return c.Stray },
		run: flood(func(f *front, n uint32) packet.Header {
			// A connection, its end, and its end once more.
			op := [...]packet.Op{packet.OpRequest, packet.OpReset, packet.OpReset}[n%3]
			return f.to([]uint32{vsock.CIDHost, honestB}[n/3%2], op, n/3, mutePort)
		}),
	},
	{
		name:   "REQUEST on an open connection",
		broken: func(c vswitch.Counters) uint64 { return c.OutOfOrder },
		run: flood(func(f *front, n uint32) packet.Header {
			return f.to(vsock.CIDHost, packet.OpRequest, n/2, mutePort)
		}),
	},
	{
		name:   "credit overrun",
		broken: func(c vswitch.Counters) uint64 { return c.Credit },
		run:    overrun(0),
	},
	{
		name:   "credit overrun with counters at the wrap",
		broken: func(c vswitch.Counters) uint64 { return c.Credit },
		run:    overrun(1<<32 - 1),
	},
	{
		name:   "credit that makes no sense",
		broken: func(c vswitch.Counters) uint64 { return c.Credit },
		run:    nonsenseCredit,
	},
	{
		name:   "lengths that change",
		broken: func(c vswitch.Counters) uint64 { return c.Malformed },
		run:    changeLengths,
	},
	{
		name:   "half-open requests",
		broken: func(c vswitch.Counters) uint64 { return c.Limited },
		run:    halfOpen,
	},
	{
		name:   "connections that never read",
		broken: func(c vswitch.Counters) uint64 { return c.Limited },
		run:    neverRead,
	},
	{
		name:   "data to a guest that does not take it",
		broken: func(c vswitch.Counters) uint64 { return c.Overflow },
		run:    toStuckGuest,
	},
	{
		name: "data that is taken by fits and starts", // which breaks no rule
		run:  takeAndStop,
	},
}

// early answers those who connect to it by data, over and over, and not by a RESPONSE.
func early(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	var asked []packet.Header
	f.receive = func(h packet.Header) {
		if h.Op == packet.OpRequest {
			asked = append(asked, h)
		}
	}
	for on() {
		f.pump()
		for _, h := range asked {
			r := h.Reply(packet.OpRW)
			r.Len, r.BufAlloc = 100, 1<<18
			f.send(r, on)
		}
		asked = asked[:0]
		f.rest()
	}
}

// overrun sends more than there is credit for, to the host and past it.
func overrun(fwd uint32) func(*arena, func() bool) {
	return func(a *arena, on func() bool) {
		f := a.connect(guestSocket)
		defer f.close()
		for src := uint32(1); on(); src++ {
			for _, cid := range []uint32{vsock.CIDHost, honestB} {
				f.send(f.to(cid, packet.OpRequest, src, mutePort), on)
				for range 6 { // the receiver's buffer is 64 KiB, and 256 KiB were proposed
					h := f.to(cid, packet.OpRW, src, mutePort)
					h.Len, h.FwdCnt = packet.MaxPayload, fwd
					f.send(h, on)
				}
				f.send(f.to(cid, packet.OpReset, src, mutePort), on)
			}
		}
	}
}

// nonsenseCredit says that it took more than it was sent, or has a buffer of 4 GiB, or
// none, while the host sends to it. Then it sends beyond its own credit.
func nonsenseCredit(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	src := uint32(1 << 20)
	for on() {
		src++
		f.open(src, sourcePort)
		for i := range uint32(64) {
			h := f.to(vsock.CIDHost, packet.OpCreditUpdate, src, sourcePort)
			h.BufAlloc = []uint32{0, 1, 1<<32 - 1, 1 << 31, 1 << 16}[i%5]
			h.FwdCnt = []uint32{1<<32 - 1, 1 << 31, 0, i * 1e9}[i%4]
			f.send(h, on)
		}
		h := f.to(vsock.CIDHost, packet.OpRW, src, sourcePort)
		h.Len = packet.MaxPayload
		for range 6 {
			f.send(h, on)
		}
		f.send(f.to(vsock.CIDHost, packet.OpReset, src, sourcePort), on)
	}
}

// changeLengths sends and receives, on connections to the host and to b, and meanwhile writes all
// over the lengths of packets that lie in the rings and may grow there.
func changeLengths(a *arena, on func() bool) {
	f := a.connectWith(guestSocket, features|featureGrow)
	defer f.close()
	var all sync.WaitGroup
	var stop atomic.Bool
	defer all.Wait()
	defer stop.Store(true)
	all.Go(func() {
		values := []uint32{0, 1, 100, packet.MaxPayload, packet.MaxPayload + 1, 1 << 31, 1<<31 | 100, 1<<32 - 1}
		for n := 0; !stop.Load(); n++ {
			at := txArea + uint64(n%ringSize)*64
			if n%2 == 0 {
				at = rxArea + uint64(n/2%ringSize)*rxSize
			}
			grow.ReturnLength(f.bytes(at, packet.HeaderSize), values[n/3%len(values)])
		}
	})
	for src := uint32(1); on(); src++ {
		for _, cid := range []uint32{vsock.CIDHost, honestB} {
			f.send(f.to(cid, packet.OpRequest, src, sourcePort), on)
			for range 64 {
				h := f.to(cid, packet.OpRW, src, sourcePort)
				h.Len = 100
				f.send(h, on)
			}
			f.pump()
			f.send(f.to(cid, packet.OpReset, src, sourcePort), on)
		}
	}
}

// halfOpen asks a partner that never answers, a socket that never accepts, and ports
// where nobody listens. The partner is a guest of the attacker's own.
func halfOpen(a *arena, on func() bool) {
	partner := a.connect(attackSocket)
	defer partner.close()
	f := a.connect(guestSocket)
	defer f.close()
	for n := uint32(0); on(); n++ {
		cid := []uint32{partner.cid, vsock.CIDHost, honestB, partner.cid}[n%4]
		f.send(f.to(cid, packet.OpRequest, n, []uint32{hangPort, nobodyPort}[n/4%2]), on)
		if n%64 == 0 {
			partner.pump()
		}
	}
}

// neverRead opens as many connections as it may, and more, to sockets that send without
// end, gives credit, and takes nothing.
func neverRead(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	f.lazy = true
	// What is refused has an answer, for which there is no room: the device hears some of
	// that and no more.
	for n := uint32(0); n < 2*vswitch.DefaultConnections && on(); n++ {
		h := f.to([]uint32{vsock.CIDHost, honestB}[n%2], packet.OpRequest, n, sourcePort)
		h.BufAlloc = 1<<32 - 1
		f.send(h, on)
	}
	for on() {
		f.rest()
	}
}

// toStuckGuest sends to a guest of its own that takes nothing.
func toStuckGuest(a *arena, on func() bool) {
	partner := a.connect(attackSocket)
	defer partner.close()
	f := a.connect(guestSocket)
	defer f.close()
	partner.receive = func(h packet.Header) {
		if h.Op == packet.OpRequest {
			r := h.Reply(packet.OpResponse)
			r.BufAlloc = 1<<32 - 1
			partner.send(r, forever)
		}
	}
	const conns = 100
	up := 0
	f.receive = func(h packet.Header) {
		if h.Op == packet.OpResponse {
			up++
		}
	}
	for src := range uint32(conns) {
		f.send(f.to(partner.cid, packet.OpRequest, src, 1), forever)
	}
	f.waitFor("connections to the partner", func() bool { partner.pump(); return up == conns })
	partner.lazy = true
	for n := uint32(0); on(); n++ {
		h := f.to(partner.cid, packet.OpRW, n%conns, 1)
		if h.Len = packet.MaxPayload; n%8 == 0 {
			h = f.to(partner.cid, packet.OpRequest, conns+n, 1) // and there is always a new one
		}
		f.send(h, on)
	}
}

// takeAndStop has b send to it, takes that as fast as it can, and earns with that that b is
// held back, then stops for as long as b may be, and so on.
func takeAndStop(a *arena, on func() bool) {
	const (
		src   = 1
		spell = 25 << 20 // what it takes at a time: for each 250 MB it is waited for one second
		pause = 100 * time.Millisecond
	)
	f := a.connect(guestSocket)
	defer f.close()
	taken, told, ended, pauses := uint32(0), uint32(0), false, 0
	f.receive = func(h packet.Header) {
		if h.DstPort == src {
			taken += h.Len
			ended = ended || h.Op == packet.OpReset || h.Op == packet.OpShutdown
		}
	}
	credit := func(op packet.Op) packet.Header {
		h := f.to(honestB, op, src, sourcePort)
		h.BufAlloc, h.FwdCnt = 4<<20, taken
		told = taken
		return h
	}
	f.send(credit(packet.OpRequest), on)
	for on() && !ended {
		for end := taken + spell; taken-end > 1<<31 && on() && !ended; {
			f.pump()
			if taken-told >= 256<<10 {
				f.send(credit(packet.OpCreditUpdate), on)
			}
		}
		if on() {
			<-time.After(pause)
			pauses++
		}
	}
	if ended || pauses == 0 {
		f.t.Errorf("%d bytes came from b, with %d pauses; its connection was ended: %v", taken, pauses, ended)
	}
}
