package driver

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	ownCID  = 3
	hostCID = 2

	// waitLimit is when a test gives up: a notification that is lost leaves it waiting.
	waitLimit = 10 * time.Second
)

// plainFeatures are those of a device whose packets do not grow.
const plainFeatures = wantedFeatures &^ featureGrow

// eventModes are the two ways in which the ends of a ring ask for notifications.
var eventModes = map[string]uint64{"EVENT_IDX": plainFeatures, "flags": plainFeatures &^ featureEventIdx}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
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

// backend is the device's side of a session. It only notes what it is given: the
// test does with it what it likes.
type backend struct {
	features uint64
	config   []byte
	mem      *guestmem.Memory
	queues   [numQueues]vhostuser.QueueConfig
	enabled  chan int // told of queues that work

	mu     sync.Mutex // held while mem or doorbells are used
	served sync.WaitGroup
}

func (b *backend) Features() uint64           { return b.features }
func (b *backend) SetFeatures(a uint64) error { b.features = a; return nil }
func (b *backend) NumQueues() int             { return numQueues }
func (b *backend) Config() []byte             { return b.config }

func (b *backend) SetMemory(m *guestmem.Memory) error { b.mem = m; return nil }

func (b *backend) StartQueue(i int, q vhostuser.QueueConfig) error {
	b.queues[i] = q
	return nil
}

func (b *backend) EnableQueue(i int, on bool) error {
	if on {
		b.enabled <- i
	}
	return nil
}

func (b *backend) SetCall(int, *eventfd.Bell) error { return nil }

// StopQueue ends the use of a queue. After it, the memory and the doorbells go.
func (b *backend) StopQueue(i int) (uint16, error) {
	b.queues[i].Kick.Interrupt()
	if i == txQueue { // the last, and the one that is served
		b.served.Wait()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i == txQueue {
		b.mem = nil
	}
	return 0, nil
}

// use does what needs the memory, which may be gone by now.
func (b *backend) use(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mem != nil {
		f()
	}
}

// bed is a driver and a device that does what a test says.
type bed struct {
	t       testing.TB
	driver  *Driver
	backend *backend
	in      *sink
	rx, tx  *virtqueue.Device  // the device's end, for those who keep to the rules
	end     context.CancelFunc // of the session
}

// listen makes a device that serves one session on a socket.
func listen(t testing.TB, b *backend) (path string, end context.CancelFunc) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		_ = vhostuser.Serve(ctx, conn, b)
	}()
	t.Cleanup(func() {
		end()
		_ = l.Close()
		<-ended
	})
	return path, end
}

func newBackend(features uint64, cid uint64) *backend {
	return &backend{features: features, config: binary.LittleEndian.AppendUint64(nil, cid), enabled: make(chan int, numQueues)}
}

// newBed joins a driver to a device, and starts it.
func newBed(t testing.TB, features uint64) *bed {
	t.Helper()
	b := &bed{t: t, backend: newBackend(features, ownCID), in: newSink()}
	path, end := listen(t, b.backend)
	b.end = end
	d, err := Connect(context.Background(), path)
	must(t, err)
	b.driver = d
	t.Cleanup(func() { _ = d.Close() })
	must(t, d.Start(b.in))
	for range eventQueue {
		receive(t, b.backend.enabled, "a queue to work")
	}
	b.backend.use(func() { b.rx, b.tx = b.queue(rxQueue), b.queue(txQueue) })
	return b
}

func (b *bed) queue(i int) *virtqueue.Device {
	b.t.Helper()
	c := b.backend.queues[i]
	q, err := virtqueue.NewDevice(b.backend.mem, virtqueue.Config{
		Size: c.Size, Desc: c.Desc, Avail: c.Avail, Used: c.Used, Base: c.Base,
		EventIdx: b.backend.features&featureEventIdx != 0,
	})
	must(b.t, err)
	return q
}

// giveBack returns what the driver has sent.
func (b *bed) giveBack(head uint16, written uint32) {
	b.backend.use(func() { b.giveNow(txQueue, head, written) })
}

// giveNow needs backend.mu, as all that does it now. It signals if the driver asks
// for it.
func (b *bed) giveNow(i int, head uint16, written uint32) {
	b.ring(i).Push(head, written)
	b.publishNow(i)
}

func (b *bed) publishNow(i int) {
	if b.ring(i).Publish() {
		_ = b.backend.queues[i].Call.Signal()
	}
}

func (b *bed) ring(i int) *virtqueue.Device {
	if i == rxQueue {
		return b.rx
	}
	return b.tx
}

// popNow takes a chain, for which it waits.
func (b *bed) popNow(i int) *virtqueue.Chain {
	b.t.Helper()
	var c virtqueue.Chain
	q, kick := b.ring(i), b.backend.queues[i].Kick
	limit := time.AfterFunc(waitLimit, kick.Interrupt)
	defer limit.Stop()
	if !kick.Wait(func() bool { return q.HasAvail() || q.EnableNotify() }) {
		b.t.Fatalf("queue %d: the driver does not kick", i)
	}
	ok, err := q.Pop(&c)
	if !ok || err != nil {
		b.t.Fatalf("queue %d: %v, %v", i, ok, err)
	}
	return &c
}

// sent is the next packet that the driver sends.
func (b *bed) sent() (head uint16, h packet.Header, payload []byte) {
	b.t.Helper()
	var all []byte
	b.backend.use(func() {
		c := b.popNow(txQueue)
		head, all = c.Head, join(c.Readable)
	})
	h, err := packet.Parse(all)
	must(b.t, err)
	if int(h.Len) != len(all)-packet.HeaderSize {
		b.t.Fatalf("a packet of %d bytes tells of %d of payload", len(all), h.Len)
	}
	return head, h, all[packet.HeaderSize:]
}

func join(segs [][]byte) []byte { return bytes.Join(segs, nil) }

// sendIn sends a packet to the driver: written is what the device says it wrote.
func (b *bed) sendIn(h packet.Header, payload []byte, written uint32) {
	b.t.Helper()
	b.backend.use(func() {
		c := b.popNow(rxQueue)
		copy(c.Writable[0], append(h.Append(nil), payload...))
		b.giveNow(rxQueue, c.Head, written)
	})
}

// giveRaw makes used elements visible that a device could not rightly give.
func (b *bed) giveRaw(i int, by uint16, id, written uint32) {
	b.t.Helper()
	b.backend.use(func() {
		used, ok := b.backend.mem.UserSlice(b.backend.queues[i].Used, 4+8*queueSize)
		if !ok {
			b.t.Fatal("the used ring is nowhere")
		}
		idx := binary.LittleEndian.Uint16(used[2:])
		e := used[4+8*int(idx%queueSize):]
		binary.LittleEndian.PutUint32(e, id)
		binary.LittleEndian.PutUint32(e[4:], written)
		w, _ := guestmem.WordAt(used, 0)
		w.Store(uint32(idx+by) << 16)
		_ = b.backend.queues[i].Call.Signal()
	})
}

// failed waits for the driver's end and gives the reason.
func (b *bed) failed() error {
	b.t.Helper()
	receive(b.t, b.driver.Done(), "the driver's end")
	return b.driver.Err()
}

// out is a packet that the process sends.
func out(n int) *packet.Packet {
	p := &packet.Packet{Header: packet.Header{
		SrcCID: ownCID, DstCID: hostCID, SrcPort: 1000, DstPort: 2000,
		Type: packet.TypeStream, Op: packet.OpRW, Len: uint32(n), BufAlloc: 1 << 18,
	}}
	if n > 0 {
		p.Payload = [][]byte{pattern(n)}
	}
	return p
}

// inHeader begins a packet for the process.
func inHeader(n int) packet.Header {
	return packet.Header{
		SrcCID: hostCID, DstCID: ownCID, SrcPort: 2000, DstPort: 1000,
		Type: packet.TypeStream, Op: packet.OpRW, Len: uint32(n), BufAlloc: 1 << 18,
	}
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

// sink takes what arrives in the process.
type sink struct{ got chan record }

func newSink() *sink { return &sink{make(chan record, 1<<16)} }

func (s *sink) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	r := record{Header: p.Header}
	for _, seg := range p.Payload {
		r.Payload += string(seg)
	}
	s.got <- r
	return int(p.Len), true
}

// waker is told when there may be room.
type waker chan struct{}

func newWaker() waker { return make(waker, 1<<12) }

func (w waker) Wake() { w <- struct{}{} }

// fill sends packets until the driver refuses, and leaves a sender that waits.
func (b *bed) fill(leave int) waker {
	b.t.Helper()
	for range queueSize - leave {
		if _, ok := b.driver.Take(out(100), nil); !ok {
			b.t.Fatal("refused, though there is room")
		}
	}
	w := newWaker()
	if leave == 0 {
		if n, ok := b.driver.Take(out(100), w); ok || n != 0 {
			b.t.Fatalf("with no buffer left: %d, %v", n, ok)
		}
	}
	return w
}

// device is a device that keeps to the rules, in a goroutine that ends with the
// session: it takes packets as they are sent and passes them to f.
func (b *bed) device(batch int, f func(payload []byte)) {
	b.backend.served.Go(func() {
		var c virtqueue.Chain
		q := b.tx
		b.backend.queues[txQueue].Kick.Serve(func() bool { return q.HasAvail() || q.EnableNotify() }, func() {
			q.DisableNotify()
			for range batch {
				ok, err := q.Pop(&c)
				if err != nil {
					b.t.Error(err)
				}
				if !ok {
					break
				}
				f(join(c.Readable)[packet.HeaderSize:])
				q.Push(c.Head, 0)
			}
			b.publishNow(txQueue)
		})
	})
}
