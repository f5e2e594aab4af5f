package vswitch

import (
	"fmt"
	"io"
	"sync/atomic"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// owner is whose port it is: a Context or a Guest.
type owner interface {
	io.Closer
	fmt.Stringer
}

// port is where a context is joined to the switch. It is the Sink of what the
// context sends; to is the Sink of what it is sent.
type port struct {
	sw    *Switch
	cid   uint32
	owner owner
	to    packet.Sink

	forged, unreachable, denied atomic.Uint64
}

// Counters count the packets of a context that the switch did not pass on.
type Counters struct {
	Forged      uint64 // source CID not the context's own: dropped
	Unreachable uint64 // no such destination CID: answered with RST
	Denied      uint64 // destination that policy denies: answered with RST
	Malformed   uint64 // of a guest: no whole packet in what it sent
	Dropped     uint64 // for a guest: nobody waits to send it again, and there was no room
}

func (p *port) counters() Counters {
	return Counters{Forged: p.forged.Load(), Unreachable: p.unreachable.Load(), Denied: p.denied.Load()}
}

// Take passes a packet on to its destination.
func (p *port) Take(pkt *packet.Packet, w packet.Waker) (int, bool) {
	if pkt.SrcCID != uint64(p.cid) {
		p.forged.Add(1)
		return int(pkt.Len), true
	}
	var dst *port
	if pkt.DstCID>>32 == 0 {
		dst = (*p.sw.routes.Load())[uint32(pkt.DstCID)]
	}
	switch {
	case dst == nil:
		p.unreachable.Add(1)
	case !allowed(p, dst):
		p.denied.Add(1)
	default:
		return dst.to.Take(pkt, w)
	}
	if h, ok := pkt.Refusal(); ok {
		p.to.Take(&packet.Packet{Header: h}, nil)
	}
	return int(pkt.Len), true
}

// allowed is the policy: everyone and the host.
func allowed(src, dst *port) bool {
	return src.cid == vsock.CIDHost || dst.cid == vsock.CIDHost
}
