package vswitch

import (
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"vsockets.dev/internal/packet"
)

// modelFlow is a connection of the model: what its sender did, and what its receiver
// was seen to get.
type modelFlow struct {
	port uint32
	life int // how many connections of this port there were before

	open  bool
	reset bool // an RST must come, after what was sent
	sent  int

	asked bool // REQUEST has arrived
	got   int  // bytes that have
}

// backlogModel is a guest that sends to another over some connections, and what the
// other may see of them.
type backlogModel struct {
	t    *rapid.T
	a, b *fakeGuest

	flows [4]modelFlow
	past  map[uint32][]modelFlow // connections before, whose end has not arrived, by port
}

// byteAt is what a connection sends at an offset: others send something else.
func (f *modelFlow) byteAt(at int) byte { return byte(at*7 + at>>8*3 + int(f.port)*31 + f.life*101) }

func (m *backlogModel) pick() *modelFlow {
	return &m.flows[rapid.IntRange(0, len(m.flows)-1).Draw(m.t, "flow")]
}

func (m *backlogModel) send(f *modelFlow, op packet.Op, payload string) {
	m.a.send(m.t, m.b, op, f.port, 80, payload)
}

// sender looks at what came back: the RST of a connection that exceeded the limit. It
// says whether that happened to a packet of f.
func (m *backlogModel) sender(f *modelFlow) (over bool) {
	for _, p := range m.a.take() {
		if p.Op != packet.OpReset || p.DstPort != f.port || over {
			m.t.Fatalf("the sender gets %v", &p.Header)
		}
		over = true
	}
	return over
}

// ended moves a connection to those whose end must still arrive.
func (m *backlogModel) ended(f *modelFlow) {
	f.open, f.reset = false, true
	m.past[f.port] = append(m.past[f.port], *f)
	*f = modelFlow{port: f.port, life: f.life + 1}
}

func (m *backlogModel) request(t *rapid.T) {
	f := m.pick()
	if f.open {
		t.Skip()
	}
	m.send(f, packet.OpRequest, "")
	if f.open = !m.sender(f); !f.open {
		f.life++ // nobody hears of it
	}
}

func (m *backlogModel) data(t *rapid.T) {
	f := m.pick()
	if !f.open {
		t.Skip()
	}
	n := rapid.IntRange(1, 3000).Draw(t, "bytes")
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = f.byteAt(f.sent + i)
	}
	m.send(f, packet.OpRW, string(payload))
	f.sent += n
	if m.sender(f) {
		m.ended(f)
	}
}

func (m *backlogModel) close(*rapid.T) {
	f := m.pick()
	if !f.open {
		m.send(f, packet.OpReset, "") // it ends nothing, and may get lost
		m.send(f, packet.OpCreditUpdate, "")
		m.a.take() // so it may be told
		return
	}
	m.send(f, packet.OpReset, "")
	m.ended(f)
}

func (m *backlogModel) room(t *rapid.T) {
	m.b.mu.Lock()
	m.b.size = rapid.IntRange(1, 2000).Draw(t, "size")
	m.b.early = rapid.IntRange(0, 2).Draw(t, "early")
	m.b.mu.Unlock()
	m.b.give(rapid.IntRange(0, 6).Draw(t, "buffers"))
}

func (m *backlogModel) limit(t *rapid.T) {
	n := rapid.SampledFrom([]int{1, 4000, 40000, DefaultBuffered, -1}).Draw(t, "limit")
	if err := m.a.port.setLimits(Limits{Buffered: n}); err != nil {
		t.Fatal(err)
	}
}

// forget has the ways be found anew, as when some group changes.
func (m *backlogModel) forget(*rapid.T) { m.a.port.sw.SetPolicy(Policy{}) }

// reboot has the receiver start anew: what was connected is over, at the sender, too.
func (m *backlogModel) reboot(t *rapid.T) {
	synctest.Wait() // what is on the way to it arrives before
	m.seen(t)
	m.b.mu.Lock()
	m.b.room = 0
	m.b.mu.Unlock()
	m.b.port.leave()
	m.b.wake() // as a device does with those who wait for a guest that has gone
	synctest.Wait()
	told := make(map[uint32]bool)
	for _, p := range m.a.take() {
		if p.Op != packet.OpReset || told[p.DstPort] {
			t.Fatalf("the sender gets %v", &p.Header)
		}
		told[p.DstPort] = true
	}
	for i := range m.flows {
		f := &m.flows[i]
		if f.open != told[f.port] {
			t.Fatalf("port %d: open %v, told of its end %v", f.port, f.open, told[f.port])
		}
		if f.open {
			*f = modelFlow{port: f.port, life: f.life + 1}
		}
	}
	clear(m.past)
	if n := m.a.port.info().Buffered; n != 0 {
		t.Fatalf("%d bytes wait for one that has gone", n)
	}
}

// quiesce lets the goroutines come to rest, or not.
func (m *backlogModel) quiesce(*rapid.T) { synctest.Wait() }

// seen holds what arrived against what was sent.
func (m *backlogModel) seen(t *rapid.T) {
	for _, p := range m.b.take() {
		f := m.flowOf(p)
		switch {
		case (f == nil || !f.asked) && (p.Op == packet.OpReset || p.Op == packet.OpCreditUpdate): // of nothing
		case f == nil:
			t.Fatalf("%v arrives out of place", &p.Header)
		case p.Op == packet.OpRequest && !f.asked:
			f.asked = true
		case p.Op == packet.OpRW && f.asked && f.got+len(p.payload) <= f.sent:
			for i := range len(p.payload) {
				if p.payload[i] != f.byteAt(f.got+i) {
					t.Fatalf("%v: byte %d of the connection is another one", &p.Header, f.got+i)
				}
			}
			f.got += len(p.payload)
		case p.Op == packet.OpReset && f.reset && f.asked:
			m.past[f.port] = m.past[f.port][1:]
		default:
			t.Fatalf("%v arrives: of %d bytes sent, %d had come; requested %v", &p.Header, f.sent, f.got, f.asked)
		}
	}
}

// flowOf gives the oldest connection whose end has not arrived.
func (m *backlogModel) flowOf(p arrived) *modelFlow {
	if past := m.past[p.SrcPort]; len(past) > 0 {
		return &past[0]
	}
	for i := range m.flows {
		if f := &m.flows[i]; f.port == p.SrcPort && f.open {
			return f
		}
	}
	return nil
}

// finish has the receiver take all: nothing is stuck, and nothing stays charged.
func (m *backlogModel) finish(t *rapid.T) {
	m.b.mu.Lock()
	m.b.room, m.b.early = -1, 0
	m.b.mu.Unlock()
	m.b.wake()
	synctest.Wait()
	m.seen(t)
	for i := range m.flows {
		f := &m.flows[i]
		if len(m.past[f.port]) > 0 || f.open && (!f.asked || f.got != f.sent) {
			t.Fatalf("something never arrives: %+v, and before that %+v", *f, m.past[f.port])
		}
	}
	open := 0
	for _, f := range m.flows {
		if f.open {
			open++
		}
	}
	if i := m.a.port.info(); i.Buffered != 0 || i.Connections != open || m.a.resetsFor(m.b) != 0 {
		t.Fatalf("when all has gone: %+v, %d RST wait, %d are open", i, m.a.resetsFor(m.b), open)
	}
	// And it takes the direct way again.
	f := &m.flows[0]
	m.send(f, packet.OpRequest, "")
	if got := m.b.take(); len(got) != 1 {
		t.Fatalf("with room, %d packets arrive at once", len(got))
	}
}

// noDeadline is a test in a bubble, which may not be asked when it must end.
type noDeadline struct{ rapid.TB }

// TestBacklogModel sends at random to a guest that takes at random: it gets of each
// connection what was sent, in order, or a beginning of that and an RST.
func TestBacklogModel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rapid.Check(noDeadline{t}, func(t *rapid.T) {
			sw := New(Config{})
			defer sw.Close()
			m := &backlogModel{t: t, a: joinFake(t, sw, 3, Limits{}), b: joinFake(t, sw, 4, Limits{}), past: make(map[uint32][]modelFlow)}
			m.b.room = 0
			for i := range m.flows {
				m.flows[i].port = uint32(1000 + i)
			}
			t.Repeat(map[string]func(*rapid.T){
				"request": m.request,
				"data":    m.data,
				"close":   m.close,
				"room":    m.room,
				"limit":   m.limit,
				"forget":  m.forget,
				"quiesce": m.quiesce,
				"reboot":  m.reboot,
				"":        m.seen,
			})
			m.finish(t)
		})
	})
}
