package vswitch

import (
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/packet"
)

// waitLimit is when a test gives up: a wake-up that is lost leaves it waiting.
const waitLimit = 20 * time.Second

// eventually waits for what nothing tells of, but asking.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ask := time.NewTicker(time.Millisecond)
	defer ask.Stop()
	limit := time.After(waitLimit)
	for !ok() {
		select {
		case <-ask.C:
		case <-limit:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// arrived is a packet that a fake guest got.
type arrived struct {
	packet.Header
	payload string
}

// fakeGuest is a guest that has as many receive buffers as a test gives it. It
// stands where its device would.
type fakeGuest struct {
	port *port

	mu      sync.Mutex
	room    int // buffers that are left; below 0: any number
	size    int // bytes that fit in one
	early   int // so often it wakes who it refuses at once, though there is no room
	waiters packet.Waiters
	got     []arrived
}

func (g *fakeGuest) Close() error   { return nil }
func (g *fakeGuest) String() string { return "fake guest" }
func (g *fakeGuest) info(*Info)     {}

// Take does as a device does: a payload may go in part.
func (g *fakeGuest) Take(p *packet.Packet, w packet.Waker) (n int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []byte
	for _, s := range p.Payload {
		all = append(all, s...)
	}
	for g.room != 0 {
		g.room--
		k := min(len(all)-n, g.size)
		g.got = append(g.got, arrived{p.Part(n, k), string(all[n : n+k])})
		if n += k; n == len(all) {
			return n, true
		}
	}
	switch {
	case w == nil:
		return len(all), true // it is lost
	case g.early > 0:
		g.early--
		woken := make(chan struct{})
		go func() { w.Wake(); close(woken) }()
		<-woken
	default:
		g.waiters.Add(w)
	}
	return n, false
}

// give gives it further buffers.
func (g *fakeGuest) give(n int) {
	g.mu.Lock()
	g.room += n
	g.mu.Unlock()
	g.wake()
}

// wake wakes who waits, whether there is room or not.
func (g *fakeGuest) wake() { g.waiters.WakeAll(&g.mu) }

// take gives what it got since the last time.
func (g *fakeGuest) take() []arrived {
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.got
	g.got = nil
	return got
}

// joinFake joins a guest that is in the group "g".
func joinFake(t failer, sw *Switch, cid uint32, l Limits) *fakeGuest {
	p, err := sw.newPort(cid, []string{"g"}, l)
	if err != nil {
		t.Fatal(err)
	}
	g := &fakeGuest{port: p, room: -1, size: packet.MaxPayload}
	p.owner, p.to = g, g
	if err := sw.plug(p); err != nil {
		t.Fatal(err)
	}
	return g
}

// failer is a testing.TB or a rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// never is the Waker of a guest whose packets nobody refuses.
type never struct{ t failer }

func (w never) Wake() { w.t.Errorf("a guest that was not refused is woken") }

// alarm is the Waker of a guest that waits for it.
type alarm chan struct{}

func (w alarm) Wake() { w <- struct{}{} }

// sendAll sends a packet of the guest, and waits where it is held back.
func (g *fakeGuest) sendAll(p *packet.Packet) (n int) {
	w := make(alarm, 1)
	for {
		n, ok := g.port.Take(p, w)
		if ok {
			return n
		}
		<-w
	}
}

// send sends a packet of the guest to another.
func (g *fakeGuest) send(t failer, to *fakeGuest, op packet.Op, src, dst uint32, payload string) {
	t.Helper()
	p := &packet.Packet{Header: packet.Header{
		SrcCID: uint64(g.port.cid.Load()), DstCID: uint64(to.port.cid.Load()), SrcPort: src, DstPort: dst,
		Type: packet.TypeStream, Op: op, Len: uint32(len(payload)), BufAlloc: 1 << 18,
	}}
	if len(payload) > 0 {
		p.Payload = [][]byte{[]byte(payload[:len(payload)/2]), []byte(payload[len(payload)/2:])}
	}
	if n := g.sendAll(p); n != len(payload) {
		t.Fatalf("%v: %d", &p.Header, n)
	}
	// The payload was borrowed: from now on it is another one.
	for _, s := range p.Payload {
		clear(s)
	}
}
