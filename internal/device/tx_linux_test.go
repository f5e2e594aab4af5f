package device

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

func each(b []byte, n int) (pieces [][]byte) {
	for ; len(b) > n; b = b[n:] {
		pieces = append(pieces, b[:n])
	}
	return append(pieces, b)
}

// A chain is a stream of bytes: where its descriptors begin and end means nothing.
func TestTXPackets(t *testing.T) {
	enc := func(h packet.Header) []byte { return h.Append(nil) }
	data := pattern(packet.MaxPayload)
	with := func(n int) []byte { return append(enc(rwHeader(n)), data[:n]...) }
	for name, c := range map[string]struct {
		pieces [][]byte
		len    int
	}{
		"header alone":                  {[][]byte{enc(rwHeader(0))}, 0},
		"header in 44 descriptors":      {each(enc(rwHeader(0)), 1), 0},
		"all in one":                    {[][]byte{with(100)}, 100},
		"header, payload":               {[][]byte{enc(rwHeader(100)), data[:100]}, 100},
		"all byte by byte":              {each(with(100), 1), 100},
		"header and some in the first":  {[][]byte{with(100)[:50], with(100)[50:]}, 100},
		"header less one in the first":  {[][]byte{with(100)[:43], with(100)[43:]}, 100},
		"as much as a packet carries":   {[][]byte{enc(rwHeader(len(data))), data}, len(data)},
		"over many descriptors":         {each(with(len(data)), 300), len(data)},
		"more in the chain than is due": {[][]byte{enc(rwHeader(10)), data[:7], data[7:100], data}, 10},
		"due ends with a descriptor":    {[][]byte{enc(rwHeader(7)), data[:7], data}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, features).start()
			head := g.send(c.pieces...)
			want := record{rwHeader(c.len), string(data[:c.len])}
			if d := cmp.Diff(want, g.out.next(t)); d != "" {
				t.Errorf("(-want +got):\n%.2000s", d)
			}
			if used, written := g.used(&g.tx); used != head || written != 0 {
				t.Errorf("chain %d came back with %d bytes written; sent was %d", used, written, head)
			}
			if n := g.device.badPackets.Load(); n != 0 {
				t.Errorf("%d bad packets", n)
			}
		})
	}
}

// What is no packet goes back at once, though nothing else comes, and harms nobody.
func TestTXMalformed(t *testing.T) {
	enc := func(n uint32) []byte { h := rwHeader(0); h.Len = n; return h.Append(nil) }
	for name, pieces := range map[string][][]byte{
		"a byte":                   {{1}},
		"a byte short of a header": {enc(0)[:43]},
		"short, in pieces":         each(enc(0)[:43], 1),
		"payload is missing":       {enc(1)},
		"payload is short":         {enc(101), make([]byte, 100)},
		"short over many":          append([][]byte{enc(101)}, each(make([]byte, 100), 1)...),
		"more than a packet has":   {enc(packet.MaxPayload + 1), make([]byte, packet.MaxPayload+1)},
		"largest length":           {enc(math.MaxUint32), make([]byte, 100)},
		"negative length":          {enc(1 << 31), make([]byte, 100)},
		"length wraps with header": {enc(math.MaxUint32 - 43), make([]byte, 100)},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, features).start()
			head := g.send(pieces...)
			if used, written := g.used(&g.tx); used != head || written != 0 {
				t.Errorf("chain %d came back with %d bytes written; sent was %d", used, written, head)
			}
			if n := g.device.badPackets.Load(); n != 1 {
				t.Errorf("%d bad packets counted, want 1", n)
			}
			h := rwHeader(3)
			g.send(h.Append(nil), []byte("yes"))
			if got := g.out.next(t); got.Payload != "yes" {
				t.Errorf("the next one has payload %q", got.Payload)
			}
			g.intact()
		})
	}
}

// A chain that is none goes back at once too: nothing comes behind that would
// bring it along.
func TestTXBadChainReturns(t *testing.T) {
	for name, buffer := range map[string]virtqueue.Buffer{
		"no such address": {Addr: 8, Len: 100},
		"across the end":  {Addr: memBase + memSize - 1, Len: 2},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				g := newGuest(t, features).start()
				for range 3 * ringSize { // more than a ring full, or one were enough to stop it
					head, ok := g.tx.Add([]virtqueue.Buffer{buffer}, nil)
					if !ok {
						t.Fatal("the TX ring is full")
					}
					g.tx.publish()
					if used, written := g.used(&g.tx); used != head || written != 0 {
						t.Fatalf("chain %d came back with %d bytes written; sent was %d", used, written, head)
					}
				}
				g.intact()
			})
		}
	}
}

// A driver may give a chain that can only be written.
func TestTXWritableChain(t *testing.T) {
	g := newGuest(t, features).start()
	if _, ok := g.tx.Add(nil, []virtqueue.Buffer{{Addr: txArea, Len: 100}}); !ok {
		t.Fatal("not added")
	}
	g.tx.publish()
	g.used(&g.tx)
	if n := g.device.badPackets.Load(); n != 1 {
		t.Errorf("%d bad packets counted, want 1", n)
	}
}

// Many rings full, in order, with as few kicks as the device asks for: if it
// forgets to ask, this hangs.
func TestTXKeepsOrder(t *testing.T) {
	for mode, features := range eventModes {
		t.Run(mode, func(t *testing.T) {
			g := newGuest(t, features).start()
			const packets = 40 * ringSize
			sent, back := 0, 0
			for back < packets {
				for sent < packets && g.tx.Free() > 0 {
					h := rwHeader(0)
					h.FwdCnt = uint32(sent)
					at := txArea + uint64(sent%ringSize)*64
					if _, ok := g.tx.Add(g.place(at, h.Append(nil)), nil); !ok {
						t.Fatal("not added")
					}
					sent++
				}
				g.tx.publish()
				g.used(&g.tx)
				back++
			}
			for i := range packets {
				if r := g.out.next(t); r.FwdCnt != uint32(i) {
					t.Fatalf("packet %d arrived as number %d", r.FwdCnt, i)
				}
			}
		})
	}
}

// A ring that makes no sense ends the session, once, and the queue with it.
func TestTXBrokenRing(t *testing.T) {
	g := newGuest(t, features).start()
	_, avail, _, _ := virtqueue.Layout(ringSize)
	idx := g.bytes(txRingAddr+avail+2, 2)
	copy(idx, []byte{0xff, 0x7f})
	_ = g.tx.kick.Signal()
	err := receive(t, g.failed, "the end of the session")
	if !bytes.Contains([]byte(err.Error()), []byte("CID 3")) {
		t.Errorf("%q does not tell which guest", err)
	}
	_ = g.tx.kick.Signal()
	g.device.resumeTX()
	g.intact() // not a second time
}
