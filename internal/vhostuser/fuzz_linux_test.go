package vhostuser

import (
	"context"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	// The start of a session, and then one message that is wrong.
	script := len(umlScript()) - 1
	var start, backwards []byte
	for i := range script {
		start = append(start, byte(i), 0, 0, 0, 0)
		backwards = append(backwards, byte(script-1-i), 0, 0, 0, 0)
	}
	f.Add(backwards)
	f.Add(slices.Concat(start, backwards))
	wrong := func(m ...byte) { f.Add(slices.Concat(start, m, start[:15])) }
	tried := make(map[Request]bool)
	for i := range byte(len(all)) {
		if tried[all[i].r] {
			continue
		}
		tried[all[i].r] = true
		wrong(i, 0, 1, 0, 0)  // too short
		wrong(i, 0, 41, 0, 0) // of another size
		for n := range byte(len(kinds) * min(len(all[i].fds), 1)) {
			wrong(i, 0, 0, 1+16*n, 0) // with a descriptor that may be of the wrong kind
		}
		wrong(i, 0, 0, MaxRegions+2, 0) // with too many
		wrong(i, 0, 0, MaxRegions+3, 0) // without any
	}
	for r := range byte(40) {
		wrong(0, 2|r<<2, 0, 0, 0)  // a request that may not be known, without what belongs to it
		wrong(0, 3|r<<2, 40, 1, 0) // with something else
	}
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

// FuzzFrontend has a back-end answer anything, whole or cut, and with descriptors. Its
// input is as many answers: how one differs from what is due, and bytes that go over
// it. Whatever they are, the front-end ends, and leaves nothing behind.
func FuzzFrontend(f *testing.F) {
	good := make([]byte, 4*40)
	f.Add(good)
	for i := range byte(20) {
		for _, change := range []byte{1, 2, 4, 8, 16} {
			f.Add(append(make([]byte, 4*int(i)), change, 0, 0, 0))
		}
		f.Add(append(make([]byte, 4*int(i)), 0, 0, 13, 1, 0xff))                        // other bytes
		f.Add(append(make([]byte, 4*int(i)), 0, 0, HeaderSize, 8, 1, 0, 0, 0, 0, 0, 0)) // a status, or a value
	}
	fd := memory.open(f)
	f.Cleanup(func() { _ = unix.Close(fd) })
	f.Fuzz(func(t *testing.T, b []byte) {
		before := held(t)
		front, back := socketPair(t)
		queues := []FrontendQueue{{Size: 128, Desc: 0x10000, Avail: 0x14000, Used: 0x18000}}
		asked := answering(back, func(h Header) []byte {
			answer := well(h)
			if len(b) < 4 {
				if b != nil {
					b = nil
					return answer
				}
				return nil // that is enough
			}
			change, extra, at, n := b[0], b[1], int(b[2]), int(b[3])
			b = b[4:]
			switch {
			case change&1 != 0:
				answer = answer[:min(len(answer), int(extra))]
			case change&2 != 0:
				answer = append(answer, make([]byte, extra)...)
			case change&4 != 0:
				answer = append(answer, well(h)...)
			case change&8 != 0:
				return nil
			case change&16 != 0 && len(answer) == 0:
				answer = reply(h.Request, u64(uint64(extra)))
			}
			if at < len(answer) {
				n = copy(answer[at:min(len(answer), at+n)], b)
				b = b[n:]
			}
			return answer
		})
		// A back-end that is silent would be waited for.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		defer cancel()
		unhook := context.AfterFunc(ctx, func() { _ = back.CloseWrite() })
		defer unhook()
		if fe, err := Connect(ctx, front, testFeatures); err == nil {
			if fe.Features()&^testFeatures != 0 {
				t.Errorf("features %#x", fe.Features())
			}
			_ = useAll(fe, fd, queues)
			_ = fe.Close()
		}
		<-asked
		noLeak(t, before)
	})
}
