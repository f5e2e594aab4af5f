package vhostuser

import (
	"slices"
	"testing"
)

// FuzzSession reads its input as a script: what to send, with what descriptors.
// Whatever it is, the session ends, and leaves nothing behind.
//
// A message is the number of one of the scripts' messages, how its flags, its
// size and its descriptors differ from it, and bytes that go over its payload.
func FuzzSession(f *testing.F) {
	all := slices.Concat(umlScript(), qemuScript())
	for _, n := range []int{0, len(umlScript())} {
		var seed []byte
		for i := n; i < min(n+40, len(all)); i++ {
			seed = append(seed, byte(i), 0, 0, 0, 0)
		}
		f.Add(seed)
	}
	f.Add([]byte{9, 1, 8, 1, 3, 2, 1, 0, 9, 0, 0, 8, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		take := func(n int) []byte {
			n = min(n, len(b))
			taken := b[:n]
			b = b[n:]
			return taken
		}
		before := held(t)
		s := serve(t, &recorder{t: t})
		for len(b) >= 5 {
			c := take(5)
			m := all[int(c[0])%len(all)]
			m.payload = slices.Clone(m.payload)
			m.ack = m.ack != (c[1]&1 != 0)
			if c[1]&2 != 0 {
				m.r = Request(c[1] >> 2)
			}
			if c[2] != 0 {
				m.payload = slices.Grow(m.payload, int(c[2]))[:c[2]]
			}
			if c[3] != 0 {
				m.fds = nil
				for i := range int(c[3]) % (MaxRegions + 3) {
					m.fds = append(m.fds, kinds[(int(c[3])/16+i)%len(kinds)])
				}
			}
			copy(m.payload, take(int(c[4])))
			if m.write(t, s.front) != nil {
				break // the session has ended
			}
		}
		_ = s.hangUp(t)
		_ = s.front.Close()
		noLeak(t, before)
	})
}
