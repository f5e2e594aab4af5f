package driver

import (
	"strings"
	"testing"

	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// growModes are the two ways of notifications, with packets that grow.
var growModes = map[string]uint64{"EVENT_IDX": wantedFeatures, "flags": wantedFeatures &^ featureEventIdx}

// wait waits for a packet that the driver sends, and gives where it is.
func (b *bed) wait() (c *virtqueue.Chain) {
	b.t.Helper()
	b.backend.use(func() { c = b.popNow(txQueue) })
	return c
}

// taken is what a device of ours takes of a packet.
func (b *bed) taken(c *virtqueue.Chain) (payload string) {
	b.t.Helper()
	b.backend.use(func() {
		whole := c.Readable[0]
		n, ok := grow.TakeLength(whole)
		if !ok || int(n) > len(whole)-packet.HeaderSize {
			b.t.Fatalf("a packet of %d bytes in a buffer of %d", n, len(whole))
		}
		payload = string(whole[packet.HeaderSize:][:n])
	})
	return payload
}

// send sends a packet, for which there must be room.
func (b *bed) send(p *packet.Packet) {
	b.t.Helper()
	if n, ok := b.driver.Take(p, newWaker()); n != int(p.Len) || !ok {
		b.t.Fatalf("Take: %d, %v", n, ok)
	}
}

func text(s string) *packet.Packet {
	p := out(0)
	p.Len, p.Payload = uint32(len(s)), [][]byte{[]byte(s)}
	return p
}

// TestSendGrows has small packets of a stream be merged until the device takes them.
func TestSendGrows(t *testing.T) {
	other := text("x")
	other.SrcPort++
	credit := out(0)
	credit.Op = packet.OpCreditUpdate
	for name, tc := range map[string]struct {
		send []*packet.Packet
		want []string
	}{
		"one stream":               {[]*packet.Packet{text("a"), text("b"), text("c")}, []string{"abc"}},
		"another stream between":   {[]*packet.Packet{text("a"), other, text("b")}, []string{"a", "x", "b"}},
		"a control packet between": {[]*packet.Packet{text("a"), credit, text("b")}, []string{"a", "", "b"}},
		"no room":                  {[]*packet.Packet{out(packet.MaxPayload - 1), text("bc"), text("d")}, []string{string(pattern(packet.MaxPayload - 1)), "bcd"}},
		"just room":                {[]*packet.Packet{out(packet.MaxPayload - 2), text("bc"), text("d")}, []string{string(pattern(packet.MaxPayload-2)) + "bc", "d"}},
	} {
		for mode, features := range growModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				b := newBed(t, features)
				for _, p := range tc.send {
					b.send(p)
				}
				for i, want := range tc.want {
					c := b.wait()
					if got := b.taken(c); got != want {
						t.Errorf("packet %d has %d bytes, want %d", i, len(got), len(want))
					}
					b.giveBack(c.Head, 0)
				}
				b.send(text("next"))
				if got := b.taken(b.wait()); got != "next" {
					t.Errorf("the next packet is %q", got)
				}
			})
		}
	}
}

// TestSendGrowsNot has a device give a packet back that it has not taken: nothing is added
// to what may be another packet by then.
func TestSendGrowsNot(t *testing.T) {
	b := newBed(t, wantedFeatures)
	b.send(text("a"))
	b.giveBack(b.wait().Head, 0)
	if b.driver.tx.busy() { // which takes back what has been given back
		t.Fatal("a buffer is missing")
	}
	b.send(text("b"))
	if got := b.taken(b.wait()); got != "b" {
		t.Errorf("%q is sent", got)
	}
}

// TestReceiveGrown has a device add to a packet that it has said to be shorter.
func TestReceiveGrown(t *testing.T) {
	for mode, features := range growModes {
		t.Run(mode, func(t *testing.T) {
			b := newBed(t, features)
			for _, n := range []int{1, 100, packet.MaxPayload} {
				b.sendIn(inHeader(n), pattern(n), packet.HeaderSize+1)
				if got := receive(t, b.in.got, "a packet"); got.Payload != string(pattern(n)) || int(got.Len) != n {
					t.Errorf("%v with %d bytes arrives, want %d", &got.Header, len(got.Payload), n)
				}
			}
			b.sendIn(inHeader(packet.MaxPayload+1), nil, packet.HeaderSize)
			if err := b.failed(); !strings.Contains(err.Error(), "claims a payload") {
				t.Errorf("%v", err)
			}
		})
	}
}
