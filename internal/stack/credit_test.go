package stack

import (
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
)

// TestCreditWraps moves more than 4 GiB past the counters by starting them short
// of the wrap.
func TestCreditWraps(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	const start = ^uint32(0) - 100
	c.sent, c.peerFwd = start, start
	c.received, c.fwd = start, start
	c.told.Store(start)
	c.known = start

	buf := make([]byte, 200)
	if n, err := s.Write(buf); n != 200 || err != nil {
		t.Fatal(n, err)
	}
	if h := w.next(t, packet.OpRW); h.Len != 200 || h.FwdCnt != start {
		t.Errorf("RW: %v", &h)
	}
	c.mu.Lock()
	free := c.free()
	c.mu.Unlock()
	if free != 1<<16-200 {
		t.Errorf("free credit %d", free)
	}
	for range 1000 {
		p.write(string(buf))
		if n, err := io.ReadFull(reader{s}, buf); n != 200 || err != nil {
			t.Fatal(n, err)
		}
	}
	var last uint32
	for len(w.packets) > 0 {
		h := w.next(t, packet.OpCreditUpdate)
		last = h.FwdCnt
	}
	if got := last - start; got > 200_000 || got < 200_000-1<<15 {
		t.Errorf("the peer heard of %d bytes taken", got)
	}
}

// TestCreditOfCautiousPeer has a peer that sends no more than its own buffer would
// take, which is smaller than ours: it hears of free space before it is stuck.
func TestCreditOfCautiousPeer(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	c.mu.Lock()
	c.bufAlloc = 8 << 20
	c.mu.Unlock()
	buf := make([]byte, 1<<16) // all of the peer's
	p.write(string(buf))
	if _, err := io.ReadFull(reader{s}, buf); err != nil {
		t.Fatal(err)
	}
	if len(w.packets) == 0 {
		t.Fatal("the peer hears nothing")
	}
	if h := w.next(t, packet.OpCreditUpdate); h.FwdCnt < 1<<15 {
		t.Errorf("it hears of %d bytes taken", h.FwdCnt)
	}
}

// TestCreditOfBoldPeer has a peer that sends more than its own buffer would take. Once it is
// seen, it hears of free space at half of ours.
func TestCreditOfBoldPeer(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	c := s.(*Socket).conn.Load()
	const window = 1 << 18 // the peer has 1 << 16
	c.mu.Lock()
	c.bufAlloc = window
	c.mu.Unlock()
	some := make([]byte, 1<<14)
	for _, tc := range []struct {
		before int // written before it is read
		want   []uint32
	}{
		{1 << 16, []uint32{1 << 15, 1 << 16}}, // as much as a cautious one might
		{window, []uint32{1<<16 + window/2, 1<<16 + window}},
	} {
		for range tc.before / len(some) {
			p.write(string(some))
		}
		for range tc.before / len(some) {
			if _, err := io.ReadFull(reader{s}, some); err != nil {
				t.Fatal(err)
			}
		}
		var told []uint32
		for len(w.packets) > 0 {
			h := w.next(t, packet.OpCreditUpdate)
			told = append(told, h.FwdCnt)
		}
		if !slices.Equal(told, tc.want) {
			t.Errorf("after %d bytes at a time it hears of %d, want %d", tc.before, told, tc.want)
		}
	}
}

func TestSendWaitsForCredit(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	done := make(chan error)
	go func() {
		n, err := s.Write(make([]byte, 1<<16+10))
		if n != 1<<16+10 {
			t.Errorf("sent %d", n)
		}
		done <- err
	}()
	if h := w.next(t, packet.OpRW); h.Len != 1<<16 {
		t.Errorf("first packet %v", &h)
	}
	w.next(t, packet.OpCreditRequest)
	w.none(t)
	p.send(packet.OpCreditUpdate, func(k *packet.Packet) { k.FwdCnt = 10 })
	if h := w.next(t, packet.OpRW); h.Len != 10 {
		t.Errorf("second packet %v", &h)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.send(packet.OpCreditRequest, nil)
	w.next(t, packet.OpCreditUpdate)
}

// TestSendNonsenseCredit has a peer that claims to have taken more than it got.
func TestSendNonsenseCredit(t *testing.T) {
	s, p, w := accepted(t)
	defer s.Close()
	p.send(packet.OpCreditUpdate, func(k *packet.Packet) { k.FwdCnt = 1 << 31 })
	_ = s.SetWriteDeadline(time.Unix(1, 0))
	if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Send: %v", err)
	}
	for len(w.packets) > 0 {
		w.next(t, packet.OpCreditRequest)
	}
}

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
