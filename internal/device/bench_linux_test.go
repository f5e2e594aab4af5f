package device

import (
	"fmt"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/virtqueue"
)

// copier is a Sink that copies each payload, as a reader's end would.
type copier struct{ buf [packet.MaxPayload]byte }

func (c *copier) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	n := 0
	for _, s := range p.Payload {
		n += copy(c.buf[n:], s)
	}
	return n, true
}

var packetSizes = []int{64, 4 << 10, 64 << 10}

// benchGuest is a guest whose packets are only copied, and whose doorbells nobody
// waits for: a benchmark works by itself.
func benchGuest(t testing.TB, features uint64) *guest {
	g := newGuest(t, features)
	g.device.out = new(copier)
	return g.start()
}

// txRound sends a batch of packets through the device, the same each time.
func txRound(t testing.TB, size int) (round func()) {
	g := benchGuest(t, plainFeatures)
	h := rwHeader(size)
	chain := g.place(txArea, h.Append(nil), make([]byte, size))
	return func() {
		for range txBatch {
			if _, ok := g.tx.Add(chain, nil); !ok {
				t.Fatal("the TX ring is full")
			}
		}
		g.tx.Publish()
		spin.Batches(txSource{g.device})
		for range txBatch {
			if _, _, ok, err := g.tx.Used(); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
}

// rxRound sends a packet to the guest. Its buffers are as large as Linux's.
func rxRound(t testing.TB, features uint64, size int) (round func()) {
	g := benchGuest(t, features)
	const room = 4096
	for g.rx.Free() > 0 {
		g.buffer(room, 0)
	}
	g.rx.Publish()
	p, w := toGuest(packet.OpRW, make([]byte, size)), newWaker()
	buffer := []virtqueue.Buffer{{Addr: rxArea, Len: room}}
	return func() {
		if n, ok := g.device.Take(p, w); !ok {
			t.Fatalf("%d of %d taken", n, size)
		}
		for {
			_, _, ok, err := g.rx.Used()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			g.rx.Add(nil, buffer)
		}
		g.rx.Publish()
	}
}

func TestNoAllocations(t *testing.T) {
	for _, size := range packetSizes {
		if n := testing.AllocsPerRun(20, txRound(t, size)); n != 0 {
			t.Errorf("TX of %d bytes: %v allocations", size, n)
		}
		if n := testing.AllocsPerRun(20, rxRound(t, plainFeatures, size)); n != 0 {
			t.Errorf("RX of %d bytes: %v allocations", size, n)
		}
		if n := testing.AllocsPerRun(20, rxRound(t, features, size)); n != 0 {
			t.Errorf("RX of %d bytes that are added: %v allocations", size, n)
		}
	}
}

func BenchmarkDeviceTX(b *testing.B) {
	for _, size := range packetSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			round := txRound(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%txBatch == 0 { // an iteration is a packet
					round()
				}
			}
		})
	}
}

func BenchmarkDeviceRX(b *testing.B) {
	for _, size := range packetSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			round := rxRound(b, plainFeatures, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				round()
			}
		})
	}
}

// BenchmarkDeviceGrow adds to packets that the guest does not take.
func BenchmarkDeviceGrow(b *testing.B) {
	const size = 64
	round := rxRound(b, features, size)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		round()
	}
}
