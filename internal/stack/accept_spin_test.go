package stack

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/vsock"
)

// requests is a ring by which one REQUEST comes at a time, for who looks, or else when the
// ring is released.
type requests struct {
	peer  peer
	lease spin.Lease
	due   atomic.Bool
	found atomic.Bool // by who looked
}

func (r *requests) Hold()              {}
func (r *requests) Lease() *spin.Lease { return &r.lease }
func (r *requests) Release()           { r.request() }

func (r *requests) Poll() bool {
	if !r.request() {
		return false
	}
	r.found.Store(true)
	return true
}

func (r *requests) request() bool {
	if !r.due.Swap(false) {
		return false
	}
	r.peer.SrcPort++
	r.peer.send(packet.OpRequest, nil)
	return true
}

// TestAcceptLooks has Accept look for the next connection where the last one came from.
func TestAcceptLooks(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor: nobody spins")
	}
	r := &requests{}
	w := newWire()
	st := New(Config{CID: 2, Out: w, Poller: func(uint32) spin.Ring { return r }})
	t.Cleanup(func() { _ = st.Close() })
	l := listen(t, st, 1)
	first, p := opened(t, w, l, 5000, 1<<16)
	r.peer = p
	conns := []vsock.Socket{first}
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	for range 1000 { // the machine may be busy with something else just then
		r.due.Store(true)
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		c, _, err := l.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		w.next(t, packet.OpResponse)
		if conns = append(conns, c); r.found.Load() {
			return
		}
	}
	t.Error("it never looked")
}
