package vswitch

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/stack"
	"vsockets.dev/vsock"
)

// gate is a Sink that can be shut: then a driver gives no receive buffer back.
type gate struct {
	to packet.Sink
	mu sync.RWMutex
}

// shut has whoever gives it a packet wait. That must not be the goroutine that looks into
// the rings of all this program (package spin), the switch's among them, as it does for a
// time after something has come by.
func (g *gate) shut(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	stacks := make([]byte, 1<<20)
	eventually(t, "nobody looks into rings", func() bool {
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("internal/spin.serve("))
	})
}

func (g *gate) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.to.Take(p, w)
}

// gated is a process that has joined, and can stop to take packets.
type gated struct {
	*stack.Stack
	gate gate
}

func joinGated(t *testing.T, path string) *gated {
	t.Helper()
	d, err := driver.Connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	g := &gated{Stack: stack.New(stack.Config{CID: d.CID(), Out: d})}
	g.gate.to = g.Stack
	t.Cleanup(func() { _, _ = g.Close(), d.Close() })
	if err := d.Start(&g.gate); err != nil {
		t.Fatal(err)
	}
	return g
}

// flood is how many bytes go over each of the connections to a process that has
// stopped: its credit.
const flood = int(vsock.DefaultBufferSize)

// ringRoom is about how many bytes fit in its RX ring: 128 packets, each of which grows to
// 64 KiB.
const ringRoom = 8 << 20

// floodBytes are those, other ones for each connection.
func floodBytes(conn int) []byte {
	b := make([]byte, flood)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + conn*13)
	}
	return b
}

// stalled is a process a, which has sent over many connections to b, which takes
// nothing, and others that are not concerned.
type stalled struct {
	t     *testing.T
	sw    *Switch
	a, c  vsock.Stack
	b     *gated
	pairs [][2]net.Conn // a's and b's ends
	ln    *vsock.Listener
}

func newStalled(t *testing.T, l Limits, conns int) *stalled {
	t.Helper()
	s := &stalled{t: t, sw: New(Config{})}
	t.Cleanup(func() { _ = s.sw.Close() })
	a, pool, err := joinSwitch(t, s.sw, AttachConfig{First: 1000, Last: 1002, Groups: []string{"g"}, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	s.a, s.b = a, joinGated(t, pool.config.Socket)
	s.c = joinGated(t, pool.config.Socket)
	ln, err := vsock.Listen(t.Context(), s.b, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	s.ln = ln
	t.Cleanup(func() { _ = ln.Close() })
	for range conns {
		p := s.pair(s.a, ln)
		s.pairs = append(s.pairs, p)
	}
	return s
}

func (s *stalled) pair(a vsock.Stack, ln net.Listener) [2]net.Conn {
	s.t.Helper()
	c, err := vsock.Dial(s.t.Context(), a, ln.Addr().(vsock.Addr))
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return [2]net.Conn{c, d}
}

// stall shuts b, and has a send all that it has credit for, in packets of 1 KiB.
func (s *stalled) stall() {
	s.t.Helper()
	s.b.gate.shut(s.t)
	for i, p := range s.pairs {
		data := floodBytes(i)
		for off := 0; off < flood; off += 1 << 10 {
			if _, err := p[0].Write(data[off:][:1<<10]); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				s.t.Fatal(err)
			}
		}
	}
	// What a sent before is with the switch when this is through.
	s.exchange(s.a, s.sw.Host())
}

// exchange moves bytes from one to another and back, and compares them.
func (s *stalled) exchange(from, to vsock.Stack) {
	s.t.Helper()
	ln, err := vsock.Listen(s.t.Context(), to, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		s.t.Fatal(err)
	}
	defer ln.Close()
	cid, _ := to.LocalCID()
	c, err := vsock.Dial(s.t.Context(), from, vsock.Addr{CID: cid, Port: ln.Addr().(vsock.Addr).Port})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	d, err := ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(struct{ io.Writer }{d}, struct{ io.Reader }{d})
		_ = d.Close()
	}()
	data := bytes.Repeat(floodBytes(77), 16)
	var got []byte
	var read sync.WaitGroup
	read.Go(func() {
		got = make([]byte, len(data))
		_, err = io.ReadFull(c, got)
	})
	if _, err := c.Write(data); err != nil {
		s.t.Fatal(err)
	}
	read.Wait()
	if err != nil || !bytes.Equal(got, data) {
		s.t.Errorf("of those who are not concerned, %v", err)
	}
}

// info is what the switch tells of a.
func (s *stalled) info() Info {
	s.t.Helper()
	for _, i := range s.sw.Contexts() {
		if i.CID == 1000 {
			return i
		}
	}
	s.t.Fatal("a is no context")
	return Info{}
}

// drained checks that nothing stays charged when all has gone.
func (s *stalled) drained() {
	s.t.Helper()
	eventually(s.t, "nothing waits", func() bool { return s.info().Buffered == 0 })
}

// TestStalledReceiver has a process take nothing for a while: it holds up what is sent
// to it and nothing else, and all of that arrives in the end.
func TestStalledReceiver(t *testing.T) {
	const conns = 200
	s := newStalled(t, Limits{}, conns)
	s.stall()
	i := s.info()
	if i.Buffered < conns*flood-ringRoom || i.Buffered > DefaultBuffered/destinationShare {
		t.Errorf("%d bytes wait, of %d that were sent", i.Buffered, conns*flood)
	}
	var others sync.WaitGroup
	others.Go(func() { s.exchange(s.a, s.sw.Host()) })
	others.Go(func() { s.exchange(s.sw.Host(), s.a) })
	others.Go(func() { s.exchange(s.a, s.c) })
	s.exchange(s.c, s.a)
	others.Wait()
	s.b.gate.mu.Unlock()
	for i, p := range s.pairs {
		got := make([]byte, flood)
		if _, err := io.ReadFull(p[1], got); err != nil || !bytes.Equal(got, floodBytes(i)) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	s.drained()
	if n := s.info().Counters.Overflow; n != 0 {
		t.Errorf("%d connections were reset", n)
	}
	s.exchange(s.a, s.b)
	s.exchange(s.b, s.a)
}

// TestStalledOverflow has more wait than may: some connections are reset, at both ends,
// and of none is anything lost but the end.
func TestStalledOverflow(t *testing.T) {
	const limit = 2 << 20
	s := newStalled(t, Limits{Buffered: limit}, 160)
	s.stall()
	i := s.info()
	if i.Buffered == 0 || i.Buffered > limit/destinationShare || i.Counters.Overflow == 0 {
		t.Errorf("%d bytes wait, %d connections were reset", i.Buffered, i.Counters.Overflow)
	}
	s.exchange(s.a, s.c)
	s.exchange(s.sw.Host(), s.a)
	s.b.gate.mu.Unlock()
	whole, cut := 0, uint64(0)
	for i, p := range s.pairs {
		// Its reader cannot block: what was reset ends, and of the others all comes.
		got := make([]byte, flood)
		n, err := io.ReadFull(p[1], got)
		if !bytes.Equal(got[:n], floodBytes(i)[:n]) {
			t.Errorf("connection %d: another byte than was sent, in %d", i, n)
		}
		_, aErr := p[0].Write([]byte("x"))
		if err == nil && aErr != nil { // all came, and what exceeded the limit was a request for credit
			_, err = p[1].Read(make([]byte, 1))
		}
		switch {
		case err == nil && aErr == nil:
			whole++
		case errors.Is(err, syscall.ECONNRESET) && errors.Is(aErr, syscall.ECONNRESET):
			cut++
		default:
			t.Errorf("connection %d: the receiver has %v after %d bytes, the sender %v", i, err, n, aErr)
		}
	}
	if n := s.info().Counters.Overflow; whole == 0 || cut != n {
		t.Errorf("%d are whole, %d were cut, %d were counted", whole, cut, n)
	}
	s.drained()
	if n := s.info().Connections; n != whole {
		t.Errorf("%d connections count, want %d", n, whole)
	}
	s.exchange(s.a, s.b)
}

// TestStalledLeaves has the process that takes nothing leave, and another come.
func TestStalledLeaves(t *testing.T) {
	s := newStalled(t, Limits{}, 160)
	s.stall()
	if i := s.info(); i.Buffered < 160*flood-ringRoom {
		t.Errorf("%d bytes wait", i.Buffered)
	}
	cid, _ := s.b.LocalCID()
	var p *attached
	for _, q := range *s.sw.routes.Load() {
		if q.cid.Load() == cid {
			p = q.owner.(*attached)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for i, pair := range s.pairs {
		if _, err := pair[0].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	s.drained()
	s.b.gate.mu.Unlock()
	again := joinGated(t, p.pool.config.Socket)
	if got, _ := again.LocalCID(); got != cid {
		t.Errorf("the next has CID %d, want %d", got, cid)
	}
	s.exchange(s.a, again)
	if i := s.info(); i.Connections > 1 {
		t.Errorf("left: %+v", i)
	}
}
