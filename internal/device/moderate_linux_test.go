package device

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
)

// still makes a guest whose TX queue is served when the test says so, and for which
// moderation is over when the test calls settleLate.
func still(t *testing.T) *guest {
	g := newGuest(t, features&^featureEventIdx) // it asks for each signal
	must(t, g.device.SetFeatures(g.features))
	must(t, g.device.SetMemory(g.mapped))
	must(t, g.device.tx.start(g.mapped, configAt(&g.tx), g.features, g.nothing))
	g.device.tx.enable(true)
	g.device.moderated.timed = true
	return g
}

// sendOf sends a packet of a number of descriptors.
func (g *guest) sendOf(descriptors int) {
	g.t.Helper()
	hdr := rwHeader(descriptors - 1)
	pieces := [][]byte{hdr.Append(nil)}
	for range descriptors - 1 {
		pieces = append(pieces, []byte{1})
	}
	g.send(pieces...)
	g.device.resumeTX()
	g.out.next(g.t)
}

// signals is how often the guest has been signalled for TX since it was asked.
func (g *guest) signals() (n uint64) {
	g.t.Helper()
	var b [8]byte
	rc, err := g.tx.call.File().SyscallConn()
	must(g.t, err)
	must(g.t, rc.Control(func(fd uintptr) { _, err = unix.Read(int(fd), b[:]) }))
	if errors.Is(err, unix.EAGAIN) {
		return 0
	}
	must(g.t, err)
	return binary.NativeEndian.Uint64(b[:])
}

// TestModeration has used TX buffers be signalled together.
func TestModeration(t *testing.T) {
	for _, tc := range []struct {
		name        string
		descriptors []int // of the packets that the guest sends
		wait        bool  // for as long as a signal is held
		want        uint64
	}{
		{"not at once", []int{1, 1, 1}, false, 0},
		{"after a while", []int{1, 1, 1}, true, 1},
		{"after half of the queue", []int{ringSize / 4, ringSize / 4}, false, 1},
		{"that many descriptors, not packets", []int{1, ringSize/2 - 2}, false, 0},
		{"after half, and a while after the rest", []int{ringSize / 2, 1}, true, 2},
		{"not twice for the same", []int{ringSize / 2}, true, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := still(t)
			for _, n := range tc.descriptors {
				g.sendOf(n)
			}
			if tc.wait {
				g.device.settleLate()
			}
			if got := g.signals(); got != tc.want {
				t.Errorf("%d signals, want %d", got, tc.want)
			}
		})
	}
}

// TestModerationTime has a guest that asks for each signal wait for it, time and again.
func TestModerationTime(t *testing.T) {
	g := newGuest(t, features&^featureEventIdx).start()
	for range 3 {
		hdr := rwHeader(0)
		g.send(hdr.Append(nil))
		rung := true
		wait(t, g.tx.call, func() bool { rung = !rung; return rung })
	}
}

// TestModerationIndirect counts what a chain takes of the queue.
func TestModerationIndirect(t *testing.T) {
	const table = txArea + 1<<16
	g := still(t)
	hdr := rwHeader(0)
	bs := g.place(txArea, hdr.Append(nil))
	le := binary.LittleEndian
	d := g.bytes(table, 16)
	le.PutUint64(d, bs[0].Addr)
	le.PutUint32(d[8:], bs[0].Len)
	head, ok := g.tx.Add([]virtqueue.Buffer{{Addr: table, Len: 16}}, nil)
	if !ok {
		t.Fatal("not added")
	}
	le.PutUint16(g.bytes(txRingAddr, 16*ringSize)[16*int(head)+12:], 4) // VIRTQ_DESC_F_INDIRECT
	g.tx.Publish()
	g.device.resumeTX()
	g.out.next(t)
	if got := g.device.moderated.returned; got != 1 {
		t.Errorf("%d descriptors, want 1", got)
	}
}

// TestModerationEnds gives what is owed when no more is taken: the switch has no room, or
// the queue is stopped.
func TestModerationEnds(t *testing.T) {
	t.Run("held back", func(t *testing.T) {
		g := still(t)
		g.sendOf(1)
		if got := g.signals(); got != 0 {
			t.Fatalf("%d signals before", got)
		}
		g.device.out = refusing{}
		hdr := rwHeader(0)
		g.send(hdr.Append(nil))
		g.device.resumeTX()
		if got := g.signals(); got != 1 {
			t.Errorf("%d signals, want 1", got)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		g := still(t)
		g.sendOf(1)
		g.stop()
		if got := g.signals(); got != 1 {
			t.Errorf("%d signals, want 1", got)
		}
		g.device.settleLate()
		if got := g.signals(); got != 0 {
			t.Errorf("%d signals after that", got)
		}
	})
}

// refusing is a Sink that has no room.
type refusing struct{}

func (refusing) Take(*packet.Packet, packet.Waker) (int, bool) { return 0, false }
