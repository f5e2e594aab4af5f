package device

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	guestCID = 3
	hostCID  = 2

	ringSize = 256
	memBase  = 1 << 20 // so that address 0 is not valid
	memSize  = 16 << 20

	// Where the guest has what: the rings, then an area each for what it sends and
	// for its receive buffers.
	rxRingAddr = memBase
	txRingAddr = memBase + 32<<10
	txArea     = memBase + 1<<20
	rxArea     = memBase + 8<<20
)

// waitLimit is when a test gives up: a notification that is lost leaves it waiting.
const waitLimit = 10 * time.Second

// plainFeatures are those of a driver whose packets do not grow.
const plainFeatures = features &^ featureGrow

// eventModes are the two ways in which the ends of a ring ask for notifications.
var eventModes = map[string]uint64{"EVENT_IDX": plainFeatures, "flags": plainFeatures &^ featureEventIdx}

// end is the guest's end of a queue.
type end struct {
	*virtqueue.Driver
	addr       uint64
	kick, call *eventfd.Event
}

// guest is a guest with its device: a driver that kicks when it is asked to and
// no more, in memory of which the device has a mapping of its own.
type guest struct {
	t        testing.TB
	device   *Device
	out      *sink
	failed   chan error
	downs    chan struct{}
	features uint64

	file   *os.File
	mem    *guestmem.Memory // the guest's
	mapped *guestmem.Memory // the device's
	rx, tx end
	region guestmem.Region
}

// newGuest makes a guest whose queues are not started yet.
func newGuest(t testing.TB, features uint64) *guest {
	t.Helper()
	mem, file, err := guestmem.Alloc(memBase, memSize)
	if err != nil {
		t.Fatal(err)
	}
	return newGuestIn(t, features, mem, file)
}

// newFickleGuest makes a guest that can take its memory away.
func newFickleGuest(t testing.TB, features uint64) *guest {
	t.Helper()
	fd, err := unix.MemfdCreate("device-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "memfd")
	if err := file.Truncate(memSize); err != nil {
		t.Fatal(err)
	}
	mem, err := guestmem.Map([]guestmem.Region{{GuestAddr: memBase, UserAddr: memBase, Size: memSize}}, []int{fd})
	if err != nil {
		t.Fatal(err)
	}
	return newGuestIn(t, features, mem, file)
}

func newGuestIn(t testing.TB, features uint64, mem *guestmem.Memory, file *os.File) *guest {
	t.Helper()
	g := &guest{
		t: t, features: features, mem: mem, file: file,
		out:    newSink(),
		failed: make(chan error, 16), downs: make(chan struct{}, 1024),
		region: guestmem.Region{GuestAddr: memBase, UserAddr: memBase, Size: memSize},
	}
	g.device = New(Config{
		CID: guestCID, Out: g.out,
		Down: func() { g.downs <- struct{}{} },
		Fail: func(err error) { g.failed <- err },
	})
	g.mapped = g.mapAgain()
	g.rx, g.tx = g.newEnd(rxRingAddr), g.newEnd(txRingAddr)
	t.Cleanup(func() {
		g.stop()
		for _, e := range []end{g.rx, g.tx} {
			_, _ = e.kick.Close(), e.call.Close()
		}
		_, _, _ = g.mem.Unmap(), g.mapped.Unmap(), g.file.Close()
	})
	return g
}

func (g *guest) mapAgain() *guestmem.Memory {
	g.t.Helper()
	m, err := guestmem.Map([]guestmem.Region{g.region}, []int{int(g.file.Fd())})
	if err != nil {
		g.t.Fatal(err)
	}
	return m
}

func (g *guest) newEnd(addr uint64) end {
	g.t.Helper()
	kick, err := eventfd.New()
	if err != nil {
		g.t.Fatal(err)
	}
	call, err := eventfd.New()
	if err != nil {
		g.t.Fatal(err)
	}
	return end{g.newRing(addr, 0), addr, kick, call}
}

func (g *guest) newRing(addr uint64, base uint16) *virtqueue.Driver {
	g.t.Helper()
	desc, avail, used, _ := virtqueue.Layout(ringSize)
	q, err := virtqueue.NewDriver(g.mem, virtqueue.Config{
		Size: ringSize, Desc: addr + desc, Avail: addr + avail, Used: addr + used, Base: base,
		EventIdx: g.features&featureEventIdx != 0,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return q
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start is what a session does when the guest's driver is ready.
func (g *guest) start() *guest {
	g.t.Helper()
	must(g.t, g.device.SetFeatures(g.features))
	must(g.t, g.device.SetMemory(g.mapped))
	for i := range eventQueue {
		g.startQueue(i, 0)
		must(g.t, g.device.EnableQueue(i, true))
	}
	return g
}

func (g *guest) startQueue(i int, base uint16) {
	g.t.Helper()
	e := map[int]*end{rxQueue: &g.rx, txQueue: &g.tx}[i]
	_ = e.kick.Close() // a queue that was stopped has ended its use for good
	var err error
	if e.kick, err = eventfd.New(); err != nil {
		g.t.Fatal(err)
	}
	c := configAt(e)
	c.Base = base
	must(g.t, g.device.StartQueue(i, c))
}

func configAt(e *end) vhostuser.QueueConfig {
	desc, avail, used, _ := virtqueue.Layout(ringSize)
	return vhostuser.QueueConfig{
		Size: ringSize, Desc: e.addr + desc, Avail: e.addr + avail, Used: e.addr + used,
		Kick: e.kick, Call: &e.call.Bell,
	}
}

func (g *guest) stop() {
	for i := range numQueues {
		_, err := g.device.StopQueue(i)
		must(g.t, err)
	}
}

// nothing is what a queue's goroutine does if the test does it all.
func (g *guest) nothing(*eventfd.Event) {}

// publish makes what was added available, and kicks if the device asks for it.
func (e *end) publish() {
	if e.Publish() {
		_ = e.kick.Signal()
	}
}

// bytes is a piece of the guest's memory.
func (g *guest) bytes(addr, n uint64) []byte {
	g.t.Helper()
	b, ok := g.mem.Slice(addr, n)
	if !ok {
		g.t.Fatalf("no %d bytes at %#x", n, addr)
	}
	return b
}

// place copies pieces into the guest's memory, with a gap between, and gives the
// buffers for a chain.
func (g *guest) place(addr uint64, pieces ...[]byte) []virtqueue.Buffer {
	g.t.Helper()
	var bs []virtqueue.Buffer
	for _, p := range pieces {
		copy(g.bytes(addr, uint64(len(p))), p)
		bs = append(bs, virtqueue.Buffer{Addr: addr, Len: uint32(len(p))})
		addr += uint64(len(p)) + 3
	}
	return bs
}

// send sends what is in pieces as one chain.
func (g *guest) send(pieces ...[]byte) (head uint16) {
	g.t.Helper()
	head, ok := g.tx.Add(g.place(txArea, pieces...), nil)
	if !ok {
		g.t.Fatal("the guest's TX ring is full")
	}
	g.tx.publish()
	return head
}

// used waits for the next used chain.
func (g *guest) used(e *end) (head uint16, written uint32) {
	g.t.Helper()
	wait(g.t, e.call, e.EnableNotify)
	head, written, ok, err := e.Used()
	if err != nil || !ok {
		g.t.Fatalf("used chain: %v, %v", ok, err)
	}
	return head, written
}

// wait waits for a doorbell.
func wait(t testing.TB, e *eventfd.Event, ready func() bool) {
	t.Helper()
	limit := time.AfterFunc(waitLimit, e.Interrupt)
	defer limit.Stop()
	if !e.Wait(ready) {
		t.Fatal("nobody rings the doorbell")
	}
}

// receive waits for a value.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(waitLimit):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// buffers gives receive buffers of a size to the device.
func (g *guest) buffers(n, size int) {
	g.t.Helper()
	for range n {
		g.buffer(size, 0)
	}
	g.rx.publish()
}

// buffer adds a receive buffer, of descriptors of piece bytes each, or of one.
func (g *guest) buffer(size, piece int) {
	g.t.Helper()
	if piece == 0 {
		piece = size
	}
	addr := uint64(rxArea) + uint64(ringSize-g.rx.Free())*16<<10
	var bs []virtqueue.Buffer
	for off := 0; off < size; off += piece {
		bs = append(bs, virtqueue.Buffer{Addr: addr + uint64(off), Len: uint32(min(piece, size-off))})
	}
	if _, ok := g.rx.Add(nil, bs); !ok {
		g.t.Fatal("the guest's RX ring is full")
	}
}

// rwHeader begins a packet from the guest to the host.
func rwHeader(n int) packet.Header {
	return packet.Header{
		SrcCID: guestCID, DstCID: hostCID, SrcPort: 1000, DstPort: 2000,
		Type: packet.TypeStream, Op: packet.OpRW, Len: uint32(n), BufAlloc: 1 << 18,
	}
}

// toGuest makes a packet for the guest.
func toGuest(op packet.Op, payload ...[]byte) *packet.Packet {
	p := &packet.Packet{Header: packet.Header{
		SrcCID: hostCID, DstCID: guestCID, SrcPort: 2000, DstPort: 1000,
		Type: packet.TypeStream, Op: op, BufAlloc: 1 << 18,
	}}
	for _, b := range payload {
		p.Len += uint32(len(b))
	}
	if p.Len > 0 {
		p.Payload = payload
	}
	return p
}

// pattern is n bytes of which each is another than its neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// record is a packet that arrived.
type record struct {
	packet.Header
	Payload string
}

// sink is what the device sends the guest's packets to. It may answer.
type sink struct {
	mu     sync.Mutex
	answer func(*packet.Packet)
	got    chan record
}

func newSink() *sink { return &sink{got: make(chan record, 1<<16)} }

func (s *sink) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	r := record{Header: p.Header}
	for _, seg := range p.Payload {
		r.Payload += string(seg)
	}
	s.got <- r
	if answer != nil {
		answer(p)
	}
	return int(p.Len), true
}

func (s *sink) answerWith(f func(*packet.Packet)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *sink) next(t testing.TB) record {
	t.Helper()
	return receive(t, s.got, "a packet from the guest")
}

// waker is told when there may be room.
type waker chan struct{}

func newWaker() waker { return make(waker, 1<<12) }

func (w waker) Wake() { w <- struct{}{} }

// arrived is what the guest finds in a receive buffer, with how much the device
// says it wrote.
func (g *guest) arrived() (packet.Header, []byte) {
	g.t.Helper()
	head, written := g.used(&g.rx)
	desc := g.bytes(rxRingAddr, 16*ringSize)
	var b []byte
	for i, next := head, true; next; {
		d := desc[16*int(i):]
		le := binary.LittleEndian
		b = append(b, g.bytes(le.Uint64(d), uint64(le.Uint32(d[8:])))...)
		next, i = le.Uint16(d[12:])&1 != 0, le.Uint16(d[14:])
	}
	if int(written) > len(b) {
		g.t.Fatalf("%d bytes written to a buffer of %d", written, len(b))
	}
	h, err := packet.Parse(b[:written])
	must(g.t, err)
	return h, b[packet.HeaderSize:written]
}

// intact fails the test if the guest has been failed.
func (g *guest) intact() {
	g.t.Helper()
	select {
	case err := <-g.failed:
		g.t.Fatalf("the guest's session was ended: %v", err)
	default:
	}
}
