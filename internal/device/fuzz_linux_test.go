package device

import (
	"encoding/binary"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
)

// lengths is a Sink that checks what every Sink relies on.
type lengths struct {
	t       *testing.T
	private []byte
}

func (s lengths) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	n := 0
	for _, b := range p.Payload {
		n += copy(s.private, b) // which it survives only if all of it is there
	}
	if n != int(p.Len) || n > packet.MaxPayload {
		s.t.Fatalf("%v with %d bytes", &p.Header, n)
	}
	return n, true
}

// FuzzGuest has all of a guest's memory be what a fuzzer says: both rings, the
// tables, and the packets.
func FuzzGuest(f *testing.F) {
	const size = 8 // of either queue
	desc, avail, used, total := virtqueue.Layout(size)
	seed := func(ring uint64, heads int, ds ...[4]uint64) {
		b := make([]byte, 4096)
		for i, d := range ds {
			at := b[ring+desc+16*uint64(i):]
			binary.LittleEndian.PutUint64(at, d[0])
			binary.LittleEndian.PutUint32(at[8:], uint32(d[1]))
			binary.LittleEndian.PutUint16(at[12:], uint16(d[2]))
			binary.LittleEndian.PutUint16(at[14:], uint16(d[3]))
		}
		binary.LittleEndian.PutUint16(b[ring+avail+2:], uint16(heads))
		for i := range heads {
			binary.LittleEndian.PutUint16(b[ring+avail+4+2*uint64(i):], uint16(i))
		}
		h := rwHeader(100)
		copy(b[3000:], h.Append(nil))
		f.Add(true, b)
		f.Add(false, b)
	}
	seed(0, 1, [4]uint64{memBase + 3000, 100, 2, 0})                                          // a receive buffer
	seed(total, 1, [4]uint64{memBase + 3000, 44, 1, 1}, [4]uint64{memBase + 3500, 200, 0, 0}) // a packet
	seed(total, 8, [4]uint64{memBase + 3000, 44, 0, 0}, [4]uint64{memBase + total, 128, 4, 0})

	g := newGuest(f, features)
	defer func() { g.t = f }()
	f.Fuzz(func(t *testing.T, eventIdx bool, memory []byte) {
		g.t = t
		area := g.bytes(memBase, 8192)
		clear(area)
		copy(area, memory)
		g.device.out = lengths{t, make([]byte, packet.MaxPayload)}
		acked := g.device.Features()
		if !eventIdx {
			acked &^= featureEventIdx
		}
		must(t, g.device.SetFeatures(acked))
		must(t, g.device.SetMemory(g.mapped))
		// Not by StartQueue: without the goroutines, all is done here and now.
		for i, q := range []*queue{&g.device.rx, &g.device.tx} {
			addr := memBase + uint64(i)*total
			c := vhostuser.QueueConfig{Size: size, Desc: addr + desc, Avail: addr + avail, Used: addr + used, Kick: g.tx.kick, Call: &g.tx.call.Bell}
			must(t, q.start(g.mapped, c, acked, g.nothing))
			q.enable(true)
			<-q.done
		}
		w := newWaker()
		for range 4 { // what comes in may change the rings
			g.device.resumeTX()
			g.device.Take(toGuest(packet.OpRW, make([]byte, 300)), w)
			g.device.Take(rst(1), nil)
			g.device.rxReady()
			g.device.rxRoom()
		}
		g.stop()
		for len(g.failed) > 0 {
			t.Logf("the session ends: %v", <-g.failed)
		}
		for len(g.downs) > 0 {
			<-g.downs
		}
	})
}
