//go:build !race

package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
	"vsockets.dev/vsock"
)

// Queues and features of a virtio-vsock device, virtio 1.3 sections 5.10.2 and 5.10.3.
const (
	rxQueue = iota
	txQueue
	eventQueue
	numQueues

	featureSeqpacket = 1 << 1
	featureGrow      = 1 << 4 // of our own, see grow.Tail
	featureIndirect  = 1 << 28
	featureEventIdx  = 1 << 29
	featureVersion1  = 1 << 32
	features         = featureSeqpacket | featureIndirect | featureEventIdx | featureVersion1
)

// Where the attacker has what in its memory.
const (
	memBase  = 1 << 20
	memSize  = 16 << 20
	fileSize = canarySize + memSize + canarySize
	ringSize = 256
	ringArea = 32 << 10 // of each queue
	txArea   = memBase + 1<<20
	dataArea = memBase + 2<<20 // what all its packets with payload send
	rxArea   = memBase + 4<<20
	rxSize   = 4 << 10
)

// front is the attacker's front-end and driver. One goroutine uses it.
type front struct {
	t       testing.TB
	conn    *net.UnixConn
	session *vhostuser.Frontend
	cid     uint32
	mem     *guestmem.Memory
	file    *os.File

	queues     [numQueues]*virtqueue.Driver
	kick, call [numQueues]*eventfd.Event

	slot    int
	lazy    bool // gives no receive buffers back
	receive func(packet.Header)
}

// dial connects to a vhost-user socket of the victim.
func (a *arena) dial(name string) *net.UnixConn {
	a.t.Helper()
	c, err := net.Dial("unix", a.socket(name))
	if err != nil {
		a.t.Fatalf("the switch does not take a front-end any more: %v", err)
	}
	return c.(*net.UnixConn)
}

// newFront makes the memory and the queues for a session.
func (a *arena) newFront() *front {
	a.t.Helper()
	f := &front{t: a.t, receive: func(packet.Header) {}}
	fd, err := unix.MemfdCreate("attack", unix.MFD_CLOEXEC) // not sealed
	if err != nil {
		a.t.Fatal(err)
	}
	f.file = os.NewFile(uintptr(fd), "memfd:attack")
	f.must(f.file.Truncate(fileSize))
	f.must(layCanaries(f.file))
	f.mem, err = guestmem.Map([]guestmem.Region{f.region()}, []int{fd})
	f.must(err)
	for i := range numQueues {
		f.kick[i], err = eventfd.New()
		f.must(err)
		f.call[i], err = eventfd.New()
		f.must(err)
		q := f.queue(i)
		f.queues[i], err = virtqueue.NewDriver(f.mem, virtqueue.Config{Size: ringSize, Desc: q.Desc, Avail: q.Avail, Used: q.Used, EventIdx: true})
		f.must(err)
	}
	for i := range ringSize {
		f.giveBuffer(i)
	}
	f.queues[rxQueue].Publish()
	return f
}

// connect makes a session as a sane front-end would.
func (a *arena) connect(name string) *front {
	a.t.Helper()
	return a.connectWith(name, features)
}

func (a *arena) connectWith(name string, features uint64) *front {
	a.t.Helper()
	f := a.newFront()
	f.conn = a.dial(name)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	var err error
	f.session, err = vhostuser.Connect(ctx, f.conn, features)
	f.must(err)
	config, err := f.session.Config(8)
	f.must(err)
	f.cid = uint32(binary.LittleEndian.Uint64(config))
	var queues []vhostuser.FrontendQueue
	for i := range numQueues {
		queues = append(queues, f.queue(i))
	}
	f.must(f.session.Start([]guestmem.Region{f.region()}, []int{int(f.file.Fd())}, queues))
	return f
}

func (f *front) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *front) region() guestmem.Region {
	return guestmem.Region{GuestAddr: memBase, UserAddr: memBase, Size: memSize, MmapOffset: canarySize}
}

func (f *front) queue(i int) vhostuser.FrontendQueue {
	base := uint64(memBase + i*ringArea)
	desc, avail, used, _ := virtqueue.Layout(ringSize)
	return vhostuser.FrontendQueue{
		Size: ringSize, Desc: base + desc, Avail: base + avail, Used: base + used, Kick: f.kick[i], Call: f.call[i],
	}
}

// close ends the session, if there is one, and takes all away.
func (f *front) close() {
	if f.session != nil {
		_ = f.session.Close()
	}
	_ = f.conn.Close()
	if err := checkCanaries(f.file); err != nil {
		f.t.Error(err)
	}
	for i := range numQueues {
		_, _ = f.kick[i].Close(), f.call[i].Close()
	}
	_, _ = f.mem.Unmap(), f.file.Close()
}

// ended waits for the switch to end the session.
func (f *front) ended() {
	f.t.Helper()
	over := make(chan struct{})
	go func() { defer close(over); _ = f.session.Wait() }()
	select {
	case <-over:
	case <-time.After(waitLimit):
		f.t.Error("the switch goes on with a session that is broken")
		_ = f.session.Close()
		<-over
	}
}

// bytes is a piece of the attacker's memory.
func (f *front) bytes(addr, n uint64) []byte {
	b, ok := f.mem.Slice(addr, n)
	if !ok {
		panic(fmt.Sprintf("no %d bytes at %#x", n, addr))
	}
	return b
}

func (f *front) giveBuffer(i int) {
	f.queues[rxQueue].Add(nil, []virtqueue.Buffer{{Addr: rxArea + uint64(i)*rxSize, Len: rxSize}})
}

// pump takes what arrived, and gives the buffers back.
func (f *front) pump() {
	q := f.queues[rxQueue]
	for !f.lazy {
		head, written, ok, err := q.Used()
		f.must(err)
		if !ok {
			break
		}
		// A buffer is one descriptor, whose number is not the buffer's own.
		d := f.bytes(memBase, 16*ringSize)[16*int(head):]
		addr := binary.LittleEndian.Uint64(d)
		if written >= packet.HeaderSize {
			h, err := packet.Parse(f.bytes(addr, packet.HeaderSize))
			f.must(err)
			f.receive(h)
		}
		q.Add(nil, []virtqueue.Buffer{{Addr: addr, Len: rxSize}})
	}
	if q.Publish() {
		f.must(f.kick[rxQueue].Signal())
	}
}

// send sends a packet whose payload is anything, unless on is false before there is room.
func (f *front) send(h packet.Header, on func() bool) {
	q := f.queues[txQueue]
	for q.Free() < 2 {
		f.pump()
		n := 0
		for {
			_, _, ok, err := q.Used()
			f.must(err)
			if !ok {
				break
			}
			n++
		}
		if n == 0 {
			if !on() {
				return
			}
			runtime.Gosched()
		}
	}
	f.slot = (f.slot + 1) % ringSize
	addr := txArea + uint64(f.slot)*64
	copy(f.bytes(addr, packet.HeaderSize), h.Append(nil))
	bs := []virtqueue.Buffer{{Addr: addr, Len: packet.HeaderSize}}
	if h.Len > 0 {
		bs = append(bs, virtqueue.Buffer{Addr: dataArea, Len: h.Len})
	}
	q.Add(bs, nil)
	if q.Publish() {
		f.must(f.kick[txQueue].Signal())
	}
}

// to makes the header of a stream packet to a context.
func (f *front) to(cid uint32, op packet.Op, src, dst uint32) packet.Header {
	return packet.Header{
		SrcCID: uint64(f.cid), DstCID: uint64(cid), SrcPort: src, DstPort: dst,
		Type: packet.TypeStream, Op: op, BufAlloc: 1 << 18,
	}
}

// waitFor pumps until something has happened.
func (f *front) waitFor(what string, ok func() bool) {
	f.t.Helper()
	for limit := time.Now().Add(waitLimit); !ok(); {
		if f.pump(); time.Now().After(limit) {
			f.t.Fatalf("waited in vain for %s", what)
		}
		runtime.Gosched()
	}
}

// open opens a connection to the host, from a port.
func (f *front) open(src, dst uint32) {
	f.t.Helper()
	up := false
	f.receive = func(h packet.Header) { up = up || h.Op == packet.OpResponse && h.DstPort == src }
	f.send(f.to(vsock.CIDHost, packet.OpRequest, src, dst), forever)
	f.waitFor("a connection", func() bool { return up })
}

func forever() bool { return true }
