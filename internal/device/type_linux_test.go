package device

import (
	"testing"

	"vsockets.dev/internal/packet"
)

// TestTypes has the guest's driver know some types of sockets and not others: what
// it does not know is never shown to it.
func TestTypes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		typ     packet.Type
		feature uint64
		refused packet.Op // the answer where the driver does not know the type; none for a datagram
	}{
		{"seqpacket", packet.TypeSeqpacket, featureSeqpacket, packet.OpReset},
		{"datagram", packet.TypeDatagram, featureDatagram, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, known := range []bool{true, false} {
				acked := uint64(features)
				if !known {
					acked &^= tc.feature
				}
				g := newGuest(t, acked).start()
				g.buffers(1, 4096)
				p := toGuest(packet.OpRW, pattern(10))
				p.Type = tc.typ
				if n, ok := g.device.Take(p, nil); n != 10 || !ok {
					t.Errorf("known %v: Take: %d, %v", known, n, ok)
				}
				if known {
					if h, b := g.arrived(); h.Type != tc.typ || string(b) != string(pattern(10)) {
						t.Errorf("%v arrives with %d bytes", &h, len(b))
					}
					continue
				}
				if tc.refused != 0 {
					if r := g.out.next(t); r.Op != tc.refused {
						t.Errorf("the answer is %v", &r.Header)
					}
				}
				if len(g.out.got) != 0 {
					t.Error("there is an answer")
				}
			}
		})
	}
}

// TestDatagramTooLarge has a datagram that does not fit one of the guest's buffers:
// it is dropped, and the buffer is there for the next.
func TestDatagramTooLarge(t *testing.T) {
	g := newGuest(t, features).start()
	g.buffers(1, 4096)
	for _, n := range []int{4096 - packet.HeaderSize + 1, 4096 - packet.HeaderSize} {
		p := toGuest(packet.OpRW, pattern(n))
		p.Type = packet.TypeDatagram
		if got, ok := g.device.Take(p, nil); got != n || !ok {
			t.Errorf("Take of %d: %d, %v", n, got, ok)
		}
	}
	if h, b := g.arrived(); len(b) != 4096-packet.HeaderSize {
		t.Errorf("%v arrives with %d bytes", &h, len(b))
	}
	if n := g.device.Counters().Dropped; n != 1 {
		t.Errorf("%d packets are counted as dropped", n)
	}
}
