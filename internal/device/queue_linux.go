package device

import (
	"errors"
	"sync"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/grow"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
)

// queue is one virtqueue of a session: the ring, its two doorbells, and the
// goroutine that waits for the guest's.
type queue struct {
	mu      sync.Mutex
	ring    *virtqueue.Device // nil while stopped
	mem     *guestmem.Memory  // where ring and chain are
	chain   virtqueue.Chain   // the one taken last
	held    bool              // chain has been taken and not been given back
	tail    grow.Tail         // the packet that went last; RX only
	enabled bool
	broken  bool
	kick    *eventfd.Event
	call    *eventfd.Bell // nil: the guest polls

	badChains, idleKicks uint64 // of rings and doorbells that are gone

	done chan struct{} // closed when the goroutine has ended
}

// running needs mu.
func (q *queue) running() bool { return q.ring != nil && q.enabled && !q.broken }

// start makes the ring usable, once it is enabled, and runs loop until stop.
func (q *queue) start(mem *guestmem.Memory, c vhostuser.QueueConfig, features uint64, loop func(*eventfd.Event)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ring != nil {
		return errors.New("the queue runs already")
	}
	ring, err := virtqueue.NewDevice(mem, virtqueue.Config{
		Size: c.Size,
		Desc: c.Desc, Avail: c.Avail, Used: c.Used,
		Base:     c.Base,
		EventIdx: features&featureEventIdx != 0,
		Indirect: features&featureIndirectDesc != 0,
	})
	if err != nil {
		return err
	}
	q.ring, q.mem = ring, mem
	q.enabled, q.broken = false, false // whatever an earlier session left
	q.kick, q.call = c.Kick, c.Call
	q.done = make(chan struct{})
	go func() {
		defer close(q.done)
		loop(c.Kick)
	}()
	return nil
}

// move goes on in another memory, if the ring is in use.
func (q *queue) move(mem *guestmem.Memory) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ring == nil {
		return nil
	}
	if err := q.ring.Move(mem); err != nil {
		return err
	}
	q.mem, q.chain = mem, virtqueue.Chain{}
	q.tail.Clear()
	return nil
}

// stop ends the use of the ring and of the doorbells, and tells where it stood.
func (q *queue) stop() (base uint16) {
	q.mu.Lock()
	if q.ring == nil {
		q.mu.Unlock()
		return 0
	}
	base = q.ring.Base()
	kick, done := q.kick, q.done
	q.badChains += q.ring.BadChains()
	q.idleKicks += kick.Idle()
	q.ring, q.kick, q.call = nil, nil, nil
	q.mem, q.chain = nil, virtqueue.Chain{}
	q.tail.Clear()
	q.mu.Unlock()

	kick.Interrupt()
	<-done
	return base
}

// counts tells of chains that could not be used, and of kicks for nothing.
func (q *queue) counts() (badChains, idleKicks uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	badChains, idleKicks = q.badChains, q.idleKicks
	if q.ring != nil {
		badChains += q.ring.BadChains()
		idleKicks += q.kick.Idle()
	}
	return badChains, idleKicks
}

// enable lets a ring work, or rest.
func (q *queue) enable(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.enabled = on
}

// giveBack needs mu. It makes the chain available again that was taken, and with
// which nothing was done because a fault came between.
func (q *queue) giveBack() {
	if q.held {
		q.held = false
		q.ring.Unpop()
	}
}

// signal needs the queue's mu. It rings the guest's doorbell.
func (d *Device) signal(q *queue) {
	if q.call == nil {
		return
	}
	// A guest that cannot be woken has itself to blame, unless it means to hold us up.
	if err := q.call.Signal(); errors.Is(err, eventfd.ErrJammed) {
		d.check(q, err)
	}
}
