package stack

import (
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/packet"
)

// TestClosings closes connections one after another, of which the peer ends some. Of the
// others each is reset when its own time is over.
func TestClosings(t *testing.T) {
	const conns = 5
	for name, ends := range map[string][]int{
		"none": nil, "the first": {0}, "the last": {4}, "in between": {2}, "some": {3, 0, 1}, "all": {1, 0, 2, 4, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				st := New(Config{CID: 2, Out: w})
				defer st.Close()
				l := listen(t, st, conns)
				ended := make(map[int]bool)
				var peers []peer
				for i := range conns {
					s, p := opened(t, w, l, 5000+uint32(i), 1<<16)
					peers = append(peers, p)
					_ = s.Close()
					w.next(t, packet.OpShutdown)
					<-time.After(time.Second)
				}
				for _, i := range ends {
					peers[i].send(packet.OpReset, nil)
					ended[i] = true
				}
				<-time.After(closeTimeout - conns*time.Second - 1)
				for i, p := range peers {
					synctest.Wait()
					w.none(t)
					<-time.After(time.Nanosecond)
					synctest.Wait()
					if !ended[i] {
						if h := w.next(t, packet.OpReset); h.DstPort != p.SrcPort {
							t.Errorf("RST to port %d, want %d", h.DstPort, p.SrcPort)
						}
					}
					<-time.After(time.Second - 1)
				}
				if st.closings.first != nil || st.closings.last != nil || st.closings.timer != nil {
					t.Error("something is left")
				}
				if n := flows(st); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
}

// TestClosingsOfStack closes the stack meanwhile.
func TestClosingsOfStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		st := New(Config{CID: 2, Out: w})
		l := listen(t, st, 1)
		for i := range uint32(2) {
			s, _ := opened(t, w, l, 5000+i, 1<<16)
			_ = s.Close()
			w.next(t, packet.OpShutdown)
			<-time.After(time.Second)
		}
		_ = st.Close()
		w.next(t, packet.OpReset)
		w.next(t, packet.OpReset)
		if st.closings.first != nil || st.closings.timer != nil {
			t.Error("something is left")
		}
	})
}

// TestClosingsAgain has one that is closed long after all others are over.
func TestClosingsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		st := New(Config{CID: 2, Out: w})
		defer st.Close()
		l := listen(t, st, 1)
		for i := range uint32(3) {
			s, p := opened(t, w, l, 5000+i, 1<<16)
			_ = s.Close()
			w.next(t, packet.OpShutdown)
			if i == 0 {
				p.send(packet.OpReset, nil)
			} else {
				<-time.After(closeTimeout - 1)
				synctest.Wait()
				w.none(t)
				<-time.After(time.Nanosecond)
				w.next(t, packet.OpReset)
			}
			<-time.After(time.Duration(i) * closeTimeout)
		}
	})
}
