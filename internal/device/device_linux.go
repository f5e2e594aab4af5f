package device

import (
	"sync/atomic"
	"time"

	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/vhostuser"
)

// Virtqueues of the device, virtio 1.3 section 5.10.2.
const (
	rxQueue = iota
	txQueue
	eventQueue
	numQueues
)

// Feature bits, virtio 1.3 sections 5.10.3 and 6. Bits 3 and 4 are not in the
// specification: they say that the driver is ours and knows datagrams, see
// packet.TypeDatagram, and packets that grow, see grow.Tail.
const (
	featureStream       = 1 << 0
	featureSeqpacket    = 1 << 1
	featureDatagram     = 1 << 3
	featureGrow         = 1 << 4
	featureIndirectDesc = 1 << 28
	featureEventIdx     = 1 << 29
	featureVersion1     = 1 << 32

	features = featureStream | featureSeqpacket | featureDatagram | featureGrow |
		featureIndirectDesc | featureEventIdx | featureVersion1
)

// Device is the device of one guest. A vhost-user session drives it, as its
// Backend; it is the Sink of the packets for the guest.
type Device struct {
	cid  atomic.Uint32
	out  packet.Sink // what the guest sends
	down func()      // the guest stopped taking part
	fail func(error) // the guest broke a ring: its session must end

	rx, tx, events queue

	resetDue bool // the guest must hear of a transport reset; under events.mu

	mem      *guestmem.Memory // of the session's goroutine
	features atomic.Uint64    // those that the driver took

	txPacket  packet.Packet // under tx.mu
	pollers   int           // who polls TX; the guest is not asked for a kick; under tx.mu
	lease     spin.Lease
	moderated moderated
	heldBack  bool         // Out refused a packet and has not called waker yet; under tx.mu
	waker     packet.Waker // a txWaker, made once
	rested    bool         // the guest has broken rules, and rests until restTimer; under tx.mu
	restTimer *time.Timer  // under tx.mu
	resting   atomic.Bool  // TX rests until there is room for replies
	leftover  spin.Leftover
	turns     spin.Turns

	// Under rx.mu.
	rxHeader [packet.HeaderSize]byte
	waiters  packet.Waiters // senders that found no room
	replies  packet.Replies

	badPackets atomic.Uint64
	dropped    atomic.Uint64
	ends       [endCauses]atomic.Uint64 // why sessions were ended

	from Traffic // under tx.mu
	to   Traffic // under rx.mu

	patience *patience
	noted    uint64 // bad chains of TX that it knows of; under tx.mu
}

// Traffic is how much went one way.
type Traffic struct{ Packets, Bytes uint64 }

func (t *Traffic) add(bytes int) {
	t.Packets++
	t.Bytes += uint64(bytes)
}

// Config is what a Device needs to know.
type Config struct {
	CID uint32

	// Out takes what the guest sends. It refuses a packet as a whole or not at all,
	// and calls the Waker from another goroutine than the one that it refuses.
	Out packet.Sink

	// Down is called when the guest stops: its connections are over.
	Down func()

	// Fail is called, once or more, when the guest breaks its rings beyond use.
	Fail func(error)
}

// maxReplies is how many packets that nobody sends again, all of them RST, a
// device keeps for a guest that has no room for them. While it keeps as many, it
// takes nothing more from the guest, whose packets they answer, virtio 1.3
// section 5.10.6.1.2.
const maxReplies = 256

// New makes the device of a guest that is not there yet.
func New(c Config) *Device {
	d := &Device{
		out: c.Out, down: c.Down, fail: c.Fail,
		patience: newPatience(),
		replies:  packet.NewReplies(maxReplies),
	}
	d.waker = txWaker{d}
	d.cid.Store(c.CID)
	return d
}

// Fault notes that the guest broke a rule that Out knows of. It needs no lock, and any
// may be held.
func (d *Device) Fault() { d.patience.fault(1) }

// Started says whether the guest has begun to take part.
func (d *Device) Started() bool {
	d.tx.mu.Lock()
	defer d.tx.mu.Unlock()
	return d.tx.running()
}

// Traffic tells what came from the guest, and what went to it.
func (d *Device) Traffic() (from, to Traffic) {
	d.tx.mu.Lock()
	from = d.from
	d.tx.mu.Unlock()
	d.rx.mu.Lock()
	to = d.to
	d.rx.mu.Unlock()
	return from, to
}

var (
	_ vhostuser.Backend = (*Device)(nil)
	_ packet.Sink       = (*Device)(nil)
	_ spin.Ring         = (*Device)(nil)
)
