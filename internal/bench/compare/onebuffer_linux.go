package compare

import "vsockets.dev/internal/packet"

// maxOneBuffer is the payload that a packet of our driver has room for in one
// buffer of it.
const maxOneBuffer = 16 << 10

// oneBuffer sends packets in parts that take one buffer of the driver each.
// vhost-device-vsock 0.3.0 takes no packet whose payload lies in several.
type oneBuffer struct{ to packet.Sink }

// Take passes p on.
func (s oneBuffer) Take(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	if p.Len <= maxOneBuffer || p.Op != packet.OpRW {
		return s.to.Take(p, w)
	}
	for _, b := range p.Payload {
		for len(b) > 0 {
			k := min(len(b), maxOneBuffer)
			part := packet.Packet{Header: p.Part(n, k), Payload: [][]byte{b[:k]}}
			taken, ok := s.to.Take(&part, w)
			n += taken
			if !ok {
				return n, false
			}
			b = b[k:]
		}
	}
	return n, true
}
