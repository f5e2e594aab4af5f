package grow

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"vsockets.dev/internal/packet"
)

// rw is a packet of a stream.
func rw(payload ...[]byte) *packet.Packet {
	p := &packet.Packet{Header: packet.Header{
		SrcCID: 3, DstCID: 2, SrcPort: 1000, DstPort: 2000,
		Type: packet.TypeStream, Op: packet.OpRW, BufAlloc: 1 << 18, FwdCnt: 7,
	}, Payload: payload}
	for _, b := range payload {
		p.Len += uint32(len(b))
	}
	return p
}

// put writes a packet to a buffer of a size, as the last one in a ring.
func put(t *Tail, p *packet.Packet, size int) []byte {
	b := make([]byte, size)
	copy(b, bytes.Join(append([][]byte{p.Append(nil)}, p.Payload...), nil))
	t.Set(&p.Header, b)
	return b
}

// lengthOf is what the header in a buffer says.
func lengthOf(b []byte) uint32 { return binary.LittleEndian.Uint32(b[packet.LengthAt:]) }

func TestTailAccepts(t *testing.T) {
	for name, tc := range map[string]struct {
		first, next func(*packet.Packet)
		size        int // of the buffer
		want        bool
	}{
		"the same stream":     {size: 100, want: true},
		"as much as there is": {size: packet.HeaderSize + 10, want: true},
		"a byte too many":     {size: packet.HeaderSize + 9},
		"no room":             {size: packet.HeaderSize + 5},
		"another source":      {size: 100, next: func(p *packet.Packet) { p.SrcCID++ }},
		"another destination": {size: 100, next: func(p *packet.Packet) { p.DstCID++ }},
		"from another port":   {size: 100, next: func(p *packet.Packet) { p.SrcPort++ }},
		"to another port":     {size: 100, next: func(p *packet.Packet) { p.DstPort++ }},
		"another type":        {size: 100, next: func(p *packet.Packet) { p.Type = packet.TypeSeqpacket }},
		"another op":          {size: 100, next: func(p *packet.Packet) { p.Op = packet.OpCreditUpdate }},
		"flags":               {size: 100, next: func(p *packet.Packet) { p.Flags = 1 }},
		"another buffer":      {size: 100, next: func(p *packet.Packet) { p.BufAlloc++ }},
		"more was taken":      {size: 100, next: func(p *packet.Packet) { p.FwdCnt++ }},
		"messages":            {size: 100, first: func(p *packet.Packet) { p.Type = packet.TypeSeqpacket }, next: func(p *packet.Packet) { p.Type = packet.TypeSeqpacket }},
		"datagrams":           {size: 100, first: func(p *packet.Packet) { p.Type = packet.TypeDatagram }, next: func(p *packet.Packet) { p.Type = packet.TypeDatagram }},
		"control packets":     {size: 100, first: func(p *packet.Packet) { p.Op = packet.OpCreditUpdate }, next: func(p *packet.Packet) { p.Op = packet.OpCreditUpdate }},
	} {
		t.Run(name, func(t *testing.T) {
			first, next := rw([]byte("first")), rw([]byte("ne"), nil, []byte("xt."))
			if tc.first != nil {
				tc.first(first)
			}
			if tc.next != nil {
				tc.next(next)
			}
			var tail Tail
			b := put(&tail, first, tc.size)
			if got := tail.Accepts(next); got != tc.want {
				t.Errorf("Accepts: %v", got)
			}
			want := "first"
			if tc.want {
				want += "next."
			}
			if got := tail.Add(next); got != tc.want {
				t.Errorf("Add: %v", got)
			}
			if n := lengthOf(b); string(b[packet.HeaderSize:][:n]) != want {
				t.Errorf("the packet holds %q", b[packet.HeaderSize:][:n])
			}
		})
	}
}

func TestTailNone(t *testing.T) {
	var tail Tail
	if tail.Add(rw([]byte("x"))) {
		t.Error("added to none")
	}
	put(&tail, rw([]byte("x")), 100)
	tail.Clear()
	if tail.Add(rw([]byte("x"))) {
		t.Error("added to one that was cleared")
	}
	b := make([]byte, 101)[1:] // where no word is
	if p := rw([]byte("x")); tail.Set(&p.Header, b) || tail.Add(p) {
		t.Error("added to one that is not aligned")
	}
	if _, ok := TakeLength(b); ok {
		t.Error("taken, though it is not aligned")
	}
	if _, ok := TakeLength(make([]byte, packet.HeaderSize)[:packet.LengthAt+3]); ok {
		t.Error("taken, though it is no header")
	}
}

func TestTailTaken(t *testing.T) {
	var tail Tail
	b := put(&tail, rw([]byte("x")), 100)
	if n, ok := TakeLength(b); n != 1 || !ok {
		t.Fatalf("taken with %d bytes, %v", n, ok)
	}
	if tail.Add(rw([]byte("y"))) {
		t.Error("added to one that was taken")
	}
	if n, ok := TakeLength(b); n <= packet.MaxPayload || !ok {
		t.Errorf("taken twice, with %d bytes, %v", n, ok)
	}
	ReturnLength(b, 1)
	if tail.Add(rw([]byte("y"))) {
		t.Error("added again after it was once in vain")
	}
	if n, ok := TakeLength(b); n != 1 || !ok {
		t.Errorf("taken with %d bytes, %v", n, ok)
	}
}

// A packet that was taken and given back before anything was added grows on.
func TestTailReturned(t *testing.T) {
	var tail Tail
	b := put(&tail, rw([]byte("x")), 100)
	n, _ := TakeLength(b)
	ReturnLength(b, n)
	if !tail.Add(rw([]byte("y"))) {
		t.Error("not added")
	}
	if n, _ := TakeLength(b); string(b[packet.HeaderSize:][:n]) != "xy" {
		t.Errorf("%d bytes are taken", n)
	}
}

// TestTailModel has packets be put, added to, taken and given back in any order: what is
// taken is the stream that was sent.
func TestTailModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tail Tail
		var ring [][]byte
		var sent, got []byte
		next := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				data := make([]byte, rapid.IntRange(1, 40).Draw(t, "bytes"))
				for i := range data {
					next++
					data[i] = next
				}
				cut := rapid.IntRange(0, len(data)).Draw(t, "cut")
				p := rw(data[:cut], data[cut:])
				p.FwdCnt = uint32(rapid.IntRange(0, 9).Draw(t, "fwd") / 9) // another one now and then
				sent = append(sent, data...)
				if !tail.Add(p) {
					b := put(&tail, p, packet.HeaderSize+64)
					ring = append(ring, b)
				}
			},
			"take": func(t *rapid.T) {
				if len(ring) == 0 {
					t.Skip("nothing is there")
				}
				n, ok := TakeLength(ring[0])
				if !ok || n > 64 {
					t.Fatalf("%d bytes, %v", n, ok)
				}
				if rapid.Bool().Draw(t, "returned") {
					ReturnLength(ring[0], n)
					return
				}
				got = append(got, ring[0][packet.HeaderSize:][:n]...)
				ring = ring[1:]
			},
			"": func(t *rapid.T) {
				if !bytes.HasPrefix(sent, got) {
					t.Fatal("what was taken is not what was sent")
				}
			},
		})
	})
}

// TestTailRace has one side take packets while the other adds to them.
func TestTailRace(t *testing.T) {
	const total = 1 << 20
	ring := make(chan []byte, 4)
	go func() {
		defer close(ring)
		var tail Tail
		for n := 0; n < total; {
			data := make([]byte, min(1+rand.IntN(64), total-n))
			for i := range data {
				data[i] = byte((n + i) * 7)
			}
			n += len(data)
			if p := rw(data); !tail.Add(p) {
				b := put(&tail, p, 1<<10)
				ring <- b
			}
		}
	}()
	n, packets := 0, 0
	for b := range ring {
		packets++
		k, ok := TakeLength(b)
		if !ok || int(k) > len(b)-packet.HeaderSize {
			t.Fatalf("%d bytes, %v", k, ok)
		}
		for _, x := range b[packet.HeaderSize:][:k] {
			if x != byte(n*7) {
				t.Fatalf("byte %d is not what was sent", n)
			}
			n++
		}
	}
	if n != total {
		t.Errorf("%d of %d bytes arrived", n, total)
	}
	t.Logf("%d packets", packets)
}
