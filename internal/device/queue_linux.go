package device

import (
	"errors"
	"sync"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/vhostuser"
	"vsockets.dev/internal/virtqueue"
)

// queue is one virtqueue of a session: the ring, its two doorbells, and the
// goroutine that waits for the guest's.
type queue struct {
	mu      sync.Mutex
	ring    *virtqueue.Device // nil while stopped
	config  vhostuser.QueueConfig
	enabled bool
	broken  bool
	kick    *eventfd.Event
	call    *eventfd.Event // nil: the guest polls

	done chan struct{} // closed when the goroutine has ended
}

// running needs mu.
func (q *queue) running() bool { return q.ring != nil && q.enabled && !q.broken }

// start makes the ring usable and runs loop until stop.
func (q *queue) start(mem *guestmem.Memory, c vhostuser.QueueConfig, features uint64, loop func(*eventfd.Event)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ring != nil {
		return errors.New("the queue runs already")
	}
	q.config = c
	if err := q.translate(mem, c.Base, features); err != nil {
		return err
	}
	q.broken = false
	q.kick, q.call = c.Kick, c.Call
	q.done = make(chan struct{})
	go func() {
		defer close(q.done)
		loop(c.Kick)
	}()
	return nil
}

// translate needs mu. It finds the ring in the guest's memory, and goes on at base.
func (q *queue) translate(mem *guestmem.Memory, base uint16, features uint64) error {
	ring, err := virtqueue.NewDevice(mem, virtqueue.Config{
		Size: q.config.Size,
		Desc: q.config.Desc, Avail: q.config.Avail, Used: q.config.Used,
		Base:     base,
		EventIdx: features&featureEventIdx != 0,
		Indirect: features&featureIndirectDesc != 0,
	})
	if err != nil {
		return err
	}
	q.ring = ring
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
	q.ring, q.kick, q.call = nil, nil, nil
	q.mu.Unlock()

	kick.Interrupt()
	<-done
	return base
}

// enable lets a ring work, or rest. A guest may have filled it before, so the
// goroutine looks at it now.
func (q *queue) enable(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.enabled = on
	if on && q.kick != nil {
		_ = q.kick.Signal()
	}
}

// signal needs mu. It rings the guest's doorbell.
func (q *queue) signal() {
	if q.call != nil {
		_ = q.call.Signal() // a guest that cannot be woken has itself to blame
	}
}
