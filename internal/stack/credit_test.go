package stack

import (
	"runtime"
	"testing"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
)

// prompt is a way to a peer that answers at once, before its packet counts as taken.
type prompt struct {
	*wire
	answer map[packet.Op]func()
}

func (a prompt) Take(p *packet.Packet, k packet.Waker) (int, bool) {
	n, ok := a.wire.Take(p, k)
	if f := a.answer[p.Op]; f != nil {
		f()
	}
	return n, ok
}

// TestCreditOfPromptPeer has a peer that sends no more than its own buffer would take, and
// does so as soon as it hears of free space: it is not taken for one that sends more.
func TestCreditOfPromptPeer(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	const most = 1 << 16
	c.mu.Lock()
	c.bufAlloc = 4 * most
	c.mu.Unlock()
	half := string(make([]byte, most/2))
	c.sendMu.Lock()
	c.out = prompt{w, map[packet.Op]func(){packet.OpCreditUpdate: func() { p.write(half) }}}
	c.sendMu.Unlock()
	p.write(half)
	p.write(half)
	buf := make([]byte, len(half))
	for i := range 8 {
		if n, err := s.Read(buf); n != len(buf) || err != nil {
			t.Fatal(n, err)
		}
		if len(w.packets) == 0 {
			t.Fatalf("it hears nothing after %d bytes", (i+1)*len(buf))
		}
		if h := w.next(t, packet.OpCreditUpdate); h.FwdCnt != uint32((i+1)*len(buf)) {
			t.Errorf("it hears of %d bytes after %d", h.FwdCnt, (i+1)*len(buf))
		}
	}
}

// credits is a ring by which a peer tells once that it has read some bytes.
type credits struct {
	peer  peer
	lease spin.Lease
	read  uint32
}

func (r *credits) Hold()              {}
func (r *credits) Release()           {}
func (r *credits) Lease() *spin.Lease { return &r.lease }

func (r *credits) Poll() bool {
	if r.read == 0 {
		return false
	}
	r.peer.send(packet.OpCreditUpdate, func(k *packet.Packet) { k.FwdCnt = r.read })
	r.read = 0
	return true
}

// TestSendLooksForCredit has the credit come while Send looks for it: the peer is not asked.
func TestSendLooksForCredit(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor: nobody spins")
	}
	s, p, w := accepted(t)
	defer s.Close()
	s.(*Socket).conn.Load().in = &credits{peer: p, read: 10}
	if n, err := s.Write(make([]byte, 1<<16+10)); n != 1<<16+10 || err != nil {
		t.Fatal(n, err)
	}
	for _, want := range []uint32{1 << 16, 10} {
		if h := w.next(t, packet.OpRW); h.Len != want {
			t.Errorf("a packet of %d bytes, want %d", h.Len, want)
		}
	}
	w.none(t)
}
