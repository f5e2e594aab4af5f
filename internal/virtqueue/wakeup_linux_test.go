package virtqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// wakeupLimit is when a test gives up waiting for a notification: if one is lost
// both ends sleep for ever.
const wakeupLimit = 60 * time.Second

// Two goroutines, one at each end, that sleep when there is nothing to do, and are
// woken by nothing but the notifications which the ring asks for. Every element
// arrives, once, in order, with what the driver wrote, and comes back with what the
// device wrote. Both do as much at a time as chance will have it, and look around
// for a while before they sleep: left alone, they fall into step, and one never
// goes to sleep just as the other publishes.
func TestNoWakeupIsLost(t *testing.T) {
	for _, c := range []struct {
		size     uint16
		elements int
	}{{256, 1_000_000}, {4, 100_000}, {1, 20_000}} {
		for _, eventIdx := range []bool{true, false} {
			t.Run(fmt.Sprintf("size %d EVENT_IDX %v", c.size, eventIdx), func(t *testing.T) {
				n := c.elements
				if testing.Short() {
					n /= 20
				}
				b := newBed(t, Config{Size: c.size, EventIdx: eventIdx, Base: 65530})
				e := &exchange{
					elements: uint32(n), bed: b, driver: b.driver(t), device: b.device(t),
					kick: make(chan struct{}, 1), signal: make(chan struct{}, 1),
					stop: make(chan struct{}),
				}
				e.run(t)
				t.Logf("%d elements: %d kicks, %d signals", n, e.kicks, e.signals)
			})
		}
	}
}

// exchange moves elements of one buffer each, of which the first 4 bytes are the
// driver's number and the device answers with its complement.
type exchange struct {
	bed            *bed
	driver         *Driver
	device         *Device
	elements       uint32
	kick, signal   chan struct{} // hold one, as an eventfd does
	stop           chan struct{}
	kicks, signals int
}

func (e *exchange) run(t *testing.T) {
	ended := make(chan error, 2)
	go func() { ended <- e.drive() }()
	go func() { ended <- e.serve() }()
	limit := time.AfterFunc(wakeupLimit, func() { close(e.stop) })
	var errs []error
	for range 2 {
		err := <-ended
		if errs = append(errs, err); err != nil && limit.Stop() {
			close(e.stop) // the other end waits in vain
		}
	}
	limit.Stop()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%v\n%d kicks, %d signals; avail %#x, used %#x", err,
			e.kicks, e.signals, e.device.availHead.Load(), e.device.usedHead.Load())
	}
}

var errStopped = errors.New("sleeps, and nobody wakes it")

func strike(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// sleep waits for the bell.
func (e *exchange) sleep(bell chan struct{}) error {
	select {
	case <-bell:
		return nil
	case <-e.stop:
		return errStopped
	}
}

// dawdle looks for something to do a few times, or not at all.
func dawdle(rnd *rand.Rand, there func() bool) bool {
	for range rnd.IntN(200) {
		if there() {
			return true
		}
	}
	return false
}

// slot is the memory of an element.
func (e *exchange) slot(i uint32) []byte {
	b, _ := e.bed.mem.Slice(dataAddr+16*uint64(i), 8)
	return b
}

func (e *exchange) drive() error {
	q := e.driver
	size := uint32(e.bed.config.Size)
	var sent, done uint32
	number := make([]uint32, size)
	rnd := rand.New(rand.NewPCG(3, 4))
	for done < e.elements {
		q.DisableNotify()
		for n := rnd.IntN(int(size)) + 1; n > 0 && sent < e.elements && q.Free() > 0; n-- {
			// Chains come back in order, so as many slots as descriptors are enough.
			slot := sent % size
			binary.LittleEndian.PutUint32(e.slot(slot), sent)
			head, ok := q.Add(nil, []Buffer{{dataAddr + 16*uint64(slot), 8}})
			if !ok {
				return errors.New("a free descriptor, and no room")
			}
			number[head] = sent
			sent++
		}
		if q.Publish() {
			e.kicks++
			strike(e.kick)
		}
		took := false
		for {
			head, written, ok, err := q.Used()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if number[head] != done || written != 8 {
				return fmt.Errorf("element %d came back with %d bytes, want %d", number[head], written, done)
			}
			if got := binary.LittleEndian.Uint32(e.slot(done % size)[4:]); got != ^done {
				return fmt.Errorf("element %d has answer %#x", done, got)
			}
			done++
			took = true
		}
		if took || dawdle(rnd, func() bool { return uint16(q.usedHead.Load()>>16) != q.consumed }) || q.EnableNotify() {
			continue
		}
		if err := e.sleep(e.signal); err != nil {
			return fmt.Errorf("after %d sent, %d done: %w", sent, done, err)
		}
	}
	return nil
}

func (e *exchange) serve() error {
	const batch = 32
	q := e.device
	rnd := rand.New(rand.NewPCG(5, 6))
	var c Chain
	for next := uint32(0); next < e.elements; {
		q.DisableNotify()
		n := 0
		for most := rnd.IntN(batch) + 1; n < most; n++ {
			ok, err := q.Pop(&c)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if c.WriteLen != 8 || len(c.Writable) != 1 {
				return fmt.Errorf("element %d: a chain of %d bytes", next, c.WriteLen)
			}
			if got := binary.LittleEndian.Uint32(c.Writable[0]); got != next {
				return fmt.Errorf("got element %d, want %d", got, next)
			}
			binary.LittleEndian.PutUint32(c.Writable[0][4:], ^next)
			q.Push(c.Head, 8)
			next++
		}
		if q.Publish() {
			e.signals++
			strike(e.signal)
		}
		if n > 0 || dawdle(rnd, q.HasAvail) || q.EnableNotify() {
			continue
		}
		if err := e.sleep(e.kick); err != nil {
			return fmt.Errorf("before element %d: %w", next, err)
		}
	}
	return nil
}
