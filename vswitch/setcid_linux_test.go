package vswitch

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
	"vsockets.dev/vsock"
)

// Where a bare guest has its rings, what it sends, and its event buffers.
const (
	bareBase   = 1 << 20
	bareSize   = 1 << 20
	bareRing   = 32 << 10 // apart
	bareTX     = bareBase + 512<<10
	bareEvents = bareBase + 768<<10
	bareQueue  = 64
)

// bareGuest is a virtual machine that has booted: a front-end, with as many queues as
// it gives to the device.
type bareGuest struct {
	t        *testing.T
	frontend *vhostuser.Frontend
	mem      *guestmem.Memory
	file     *os.File
	rings    []*virtqueue.Driver
	queues   []vhostuser.FrontendQueue
	sent     uint64
}

// bootBare boots one: with queues 2 it keeps the event queue, as QEMU does.
func bootBare(t *testing.T, path string, queues int) *bareGuest {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	check(err)
	g := &bareGuest{t: t}
	g.frontend, err = vhostuser.Connect(t.Context(), conn, 1<<32)
	check(err)
	g.mem, g.file, err = guestmem.Alloc(bareBase, bareSize)
	check(err)
	for i := range queues {
		addr := uint64(bareBase + i*bareRing)
		desc, avail, used, _ := virtqueue.Layout(bareQueue)
		q := vhostuser.FrontendQueue{Size: bareQueue, Desc: addr + desc, Avail: addr + avail, Used: addr + used}
		q.Kick, err = eventfd.New()
		check(err)
		q.Call, err = eventfd.New()
		check(err)
		ring, err := virtqueue.NewDriver(g.mem, virtqueue.Config{Size: bareQueue, Desc: q.Desc, Avail: q.Avail, Used: q.Used})
		check(err)
		g.rings, g.queues = append(g.rings, ring), append(g.queues, q)
	}
	region := guestmem.Region{GuestAddr: bareBase, UserAddr: bareBase, Size: bareSize}
	check(g.frontend.Start([]guestmem.Region{region}, []int{int(g.file.Fd())}, g.queues))
	return g
}

// off turns it off.
func (g *bareGuest) off() {
	_ = g.frontend.Close()
	for _, q := range g.queues {
		_, _ = q.Kick.Close(), q.Call.Close()
	}
	_, _ = g.mem.Unmap(), g.file.Close()
}

// cid is what it reads as its own.
func (g *bareGuest) cid() byte {
	g.t.Helper()
	b, err := g.frontend.Config(8)
	if err != nil {
		g.t.Fatal(err)
	}
	return b[0]
}

// request has it ask for a connection to the host.
func (g *bareGuest) request(from uint64, port uint32) {
	g.t.Helper()
	h := packet.Header{SrcCID: from, DstCID: uint64(vsock.CIDHost), SrcPort: port, DstPort: 1024, Type: packet.TypeStream, Op: packet.OpRequest}
	at := bareTX + g.sent*64
	g.sent++
	b, _ := g.mem.Slice(at, packet.HeaderSize)
	copy(b, h.Append(nil))
	if _, ok := g.rings[1].Add([]virtqueue.Buffer{{Addr: at, Len: packet.HeaderSize}}, nil); !ok {
		g.t.Fatal("the TX ring is full")
	}
	if g.rings[1].Publish() {
		_ = g.queues[1].Kick.Signal()
	}
}

// eventBuffers gives buffers for events.
func (g *bareGuest) eventBuffers(n int) {
	g.t.Helper()
	for i := range n {
		g.rings[2].Add(nil, []virtqueue.Buffer{{Addr: bareEvents + uint64(i)*64, Len: 4}})
	}
	if g.rings[2].Publish() {
		_ = g.queues[2].Kick.Signal()
	}
}

// event waits for an event.
func (g *bareGuest) event() {
	g.t.Helper()
	limit := time.AfterFunc(waitLimit, g.queues[2].Call.Interrupt)
	defer limit.Stop()
	if !g.queues[2].Call.Wait(g.rings[2].EnableNotify) {
		g.t.Fatal("no event")
	}
	if _, n, ok, err := g.rings[2].Used(); !ok || err != nil || n != 4 {
		g.t.Fatalf("an event of %d bytes, %v, %v", n, ok, err)
	}
}

// noEvent fails the test if there is one.
func (g *bareGuest) noEvent() {
	g.t.Helper()
	if _, _, ok, _ := g.rings[2].Used(); ok {
		g.t.Error("an event")
	}
}

// guestBed is a switch with a place for a guest, and a service on the host.
func guestBed(t *testing.T) (*Switch, *Guest, *vsock.Listener) {
	t.Helper()
	sw := New(Config{})
	t.Cleanup(func() { _ = sw.Close() })
	g, err := sw.AddGuest(GuestConfig{CID: 3, Socket: filepath.Join(t.TempDir(), "s"), Groups: []string{"b", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return sw, g, ln
}

func accept(t *testing.T, ln *vsock.Listener, cid uint32) net.Conn {
	t.Helper()
	c, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if got := c.RemoteAddr().(vsock.Addr).CID; got != cid {
		t.Errorf("a connection from %d, want %d", got, cid)
	}
	return c
}

func setCID(t *testing.T, g *Guest, cid uint32, later bool) {
	t.Helper()
	if got, err := g.SetCID(cid); err != nil || got != later {
		t.Errorf("SetCID(%d): later %v, %v; want %v", cid, got, err, later)
	}
}

// gone waits for the end of a guest's session.
func gone(t *testing.T, g *Guest) {
	t.Helper()
	eventually(t, "the guest is off", func() bool { return g.session.Load() == nil })
}

// TestSetCIDRunning changes the CID of a guest whose events are the switch's.
func TestSetCIDRunning(t *testing.T) {
	sw, g, ln := guestBed(t)
	if _, err := sw.AddContext(ContextConfig{CID: 7}); err != nil {
		t.Fatal(err)
	}
	vm := bootBare(t, g.config.Socket, 3)
	defer vm.off()
	vm.eventBuffers(4)
	vm.request(3, 5000)
	c := accept(t, ln, 3)

	for _, cid := range []uint32{0, 1, 2, vsock.CIDAny, 7} {
		if later, err := g.SetCID(cid); err == nil || later {
			t.Errorf("SetCID(%d): %v, %v", cid, later, err)
		}
	}
	if g.CID() != 3 || vm.cid() != 3 {
		t.Errorf("the CID is %d, the guest's %d", g.CID(), vm.cid())
	}
	vm.noEvent()

	setCID(t, g, 4, false)
	vm.event()
	if g.CID() != 4 || vm.cid() != 4 {
		t.Errorf("the CID is %d, the guest's %d", g.CID(), vm.cid())
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection from before: %v", err)
	}
	vm.request(3, 5001) // it has not noticed yet
	vm.request(4, 5002)
	accept(t, ln, 4)
	if n := g.Counters().Forged; n != 1 {
		t.Errorf("%d packets under the old CID were counted", n)
	}
	again, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Errorf("the old CID is not free: %v", err)
	} else {
		_ = again.Close()
	}
}

// TestSetCIDSame changes nothing: nobody is told, and connections go on.
func TestSetCIDSame(t *testing.T) {
	sw, g, ln := guestBed(t)
	vm := bootBare(t, g.config.Socket, 3)
	defer vm.off()
	vm.eventBuffers(4)
	vm.request(3, 5000)
	accept(t, ln, 3)
	setCID(t, g, 3, false)
	vm.noEvent()
	if n := sw.Contexts()[1].Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestSetCIDNextBoot changes the CID of a guest that cannot be told.
func TestSetCIDNextBoot(t *testing.T) {
	sw, g, ln := guestBed(t)
	vm := bootBare(t, g.config.Socket, 2)
	vm.request(3, 5000)
	accept(t, ln, 3)
	if i := sw.Contexts()[1]; i.NextCID != 0 || i.Kind != KindGuest || i.PID != int32(os.Getpid()) || i.Since.IsZero() ||
		i.Connections != 1 || len(i.Groups) != 2 || i.Groups[0] != "a" || i.Socket != g.config.Socket {
		t.Errorf("info: %+v", i)
	}
	if _, err := g.SetCID(2); err == nil {
		t.Error("a reserved CID waits")
	}
	setCID(t, g, 8, true)
	setCID(t, g, 9, true)
	if i := sw.Contexts()[1]; i.CID != 3 || i.NextCID != 9 || i.Connections != 1 {
		t.Errorf("info: %+v", i)
	}
	vm.off()
	gone(t, g)
	if i := sw.Contexts()[1]; i.CID != 3 || i.NextCID != 9 || i.PID != 0 || i.UID != nil || !i.Since.IsZero() {
		t.Errorf("info of a guest that is off: %+v", i)
	}
	vm = bootBare(t, g.config.Socket, 2)
	if vm.cid() != 9 || g.CID() != 9 {
		t.Errorf("after the boot its CID is %d, %d", vm.cid(), g.CID())
	}
	vm.request(9, 5001)
	accept(t, ln, 9)
	if i := sw.Contexts()[1]; i.NextCID != 0 {
		t.Errorf("info: %+v", i)
	}

	// One that waits is forgotten when the one that it has is asked for.
	setCID(t, g, 10, true)
	setCID(t, g, 9, false)
	vm.off()
	gone(t, g)
	vm = bootBare(t, g.config.Socket, 2)
	if vm.cid() != 9 {
		t.Errorf("its CID is %d", vm.cid())
	}

	// One that somebody else has taken by the time of the boot.
	setCID(t, g, 11, true)
	if _, err := sw.AddContext(ContextConfig{CID: 11}); err != nil {
		t.Fatal(err)
	}
	vm.off()
	gone(t, g)
	vm = bootBare(t, g.config.Socket, 2)
	defer vm.off()
	if vm.cid() != 9 || g.CID() != 9 {
		t.Errorf("its CID is %d, %d", vm.cid(), g.CID())
	}
	vm.request(9, 5003)
	accept(t, ln, 9)
}

// TestSetCIDOff changes the CID of a guest that is off.
func TestSetCIDOff(t *testing.T) {
	_, g, ln := guestBed(t)
	setCID(t, g, 5, false)
	vm := bootBare(t, g.config.Socket, 2)
	defer vm.off()
	vm.request(5, 5000)
	accept(t, ln, 5)
	if vm.cid() != 5 {
		t.Errorf("its CID is %d", vm.cid())
	}
}

// TestEventQueueHostile has a guest without use for its events: its session ends, and
// it may boot again.
func TestEventQueueHostile(t *testing.T) {
	_, g, ln := guestBed(t)
	vm := bootBare(t, g.config.Socket, 3)
	for i := range uint64(bareQueue) {
		vm.rings[2].Add(nil, []virtqueue.Buffer{{Addr: bareEvents + i*64, Len: 1}})
	}
	if vm.rings[2].Publish() {
		_ = vm.queues[2].Kick.Signal()
	}
	vm.request(3, 5000)
	c := accept(t, ln, 3)
	setCID(t, g, 4, false)
	if err := vm.frontend.Wait(); err == nil {
		t.Error("the session goes on")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its connection: %v", err)
	}
	vm.off()
	vm = bootBare(t, g.config.Socket, 3)
	defer vm.off()
	vm.request(4, 5000)
	accept(t, ln, 4)
}
