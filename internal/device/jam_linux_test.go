package device

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/packet"
)

// A guest fills its doorbell and makes writes to it block. Whoever has the device ring it
// comes back, and the guest's session ends.
func TestJammedCall(t *testing.T) {
	for name, do := range map[string]func(*guest){
		"TX": func(g *guest) {
			h := rwHeader(0)
			g.send(h.Append(nil))
		},
		"RX": func(g *guest) {
			g.buffers(1, 4096)
			if _, ok := g.device.Take(toGuest(packet.OpRequest), newWaker()); !ok {
				t.Error("refused, though there is room")
			}
		},
	} {
		for mode, features := range eventModes {
			t.Run(name+"/"+mode, func(t *testing.T) {
				g := newGuest(t, features).start()
				for _, e := range []*end{&g.rx, &g.tx} {
					fd := int(e.call.File().Fd())
					must(t, unix.SetNonblock(fd, false))
					if _, err := unix.Write(fd, binary.LittleEndian.AppendUint64(nil, math.MaxUint64-1)); err != nil {
						t.Fatal(err)
					}
					e.EnableNotify()
				}
				do(g)
				if err := receive(t, g.failed, "the end of the session"); !errors.Is(err, eventfd.ErrJammed) {
					t.Errorf("the session ends with %v", err)
				}
			})
		}
	}
}
