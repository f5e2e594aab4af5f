package vswitch

import (
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/packet"
)

// A guest whose receiver has no room is held back: it waits, and what it sends is copied
// once, when there is room. But its one TX ring leads to all, so what holds it back holds up
// all that it sends. It is held back no longer than this says, after which its packets
// wait here, copied, and it goes on.
const (
	// mostUnpressed is how much may wait before the sender is held back, in bytes: small
	// packets, of which a receiver takes many at a time.
	mostUnpressed = 64 << 10

	// mostHeldBack is for how long it is held back at once: as long as a machine that is
	// busy lets a receiver stand that is well.
	mostHeldBack = 100 * time.Millisecond

	// heldBackShare is the part of the time for which receivers may hold it back that take
	// next to nothing: a twentieth.
	heldBackShare = 20

	// heldBackPerByte is for how long they may, in addition, for each byte that they take.
	// One that takes less than 250 MB in a second is held to be slow.
	heldBackPerByte = 4 * time.Nanosecond

	// heldBackOfMixed is the part of the time for which it is held back at most, if what
	// it sends is not for one receiver alone: an eighth. A receiver that takes much, and stops,
	// and so on, holds up no more of what is for others, which also share with it the time
	// in which it takes: about half is theirs all the same. What goes to slow ones is copied to
	// the queue all the sooner.
	heldBackOfMixed = 8
)

// backpressure is for how long a guest may yet be held back. Its receivers share it, so that
// many slow ones hold it up no longer than one.
type backpressure struct {
	mu   sync.Mutex
	left time.Duration
	at   time.Time // that is from
	to   uint64    // what port.turns was then
}

func newBackpressure() *backpressure { return &backpressure{left: mostHeldBack, at: time.Now()} }

// earn adds what the time brings, and so many bytes that were taken, and gives what is left.
// Turns tell how often the guest has sent to another receiver than before.
func (p *backpressure) earn(taken int64, turns uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	passed := now.Sub(p.at)
	more := passed/heldBackShare + time.Duration(taken)*heldBackPerByte
	if turns != p.to {
		more = min(more, passed/heldBackOfMixed)
	}
	p.left = min(p.left+more, mostHeldBack)
	p.at, p.to = now, turns
	return p.left
}

func (p *backpressure) spend(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left -= d
}

// pressure is the state of a backlog between a receiver without room and its sender. The
// backlog locks all but taken.
type pressure struct {
	taken  atomic.Int64 // bytes that the receiver took, since they were counted last
	sender packet.Waker // is held back; nil if it is not
	since  time.Time    // when that began
	until  time.Time    // when it ends at the latest
	timer  *time.Timer  // ends it
	spent  bool         // it was as long as it may be: what comes waits here, until all has gone
}

// admits says whether a packet may be passed to the backlog now. If not, w is woken when it
// may. What nobody waits for is an answer that the switch gives itself, which always may.
func (b *backlog) admits(w packet.Waker) bool {
	if w == nil || !b.busy.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.pressure
	if b.bytes < mostUnpressed || p.spent {
		return true
	}
	if p.sender == nil {
		left := b.from.backpressure.earn(p.taken.Swap(0), b.from.turns.Load())
		if left <= 0 {
			p.spent = true
			return true
		}
		p.since = time.Now()
		p.until = p.since.Add(left)
		if p.timer == nil {
			p.timer = time.AfterFunc(left, b.tire)
		} else {
			p.timer.Reset(left)
		}
	}
	p.sender = w
	return false
}

// release needs mu. It gives the sender that is held back, nil if none is, to be woken
// without mu.
func (b *backlog) release() (w packet.Waker) {
	p := &b.pressure
	if p.sender == nil {
		return nil
	}
	w, p.sender = p.sender, nil
	p.timer.Stop()
	b.from.backpressure.spend(time.Since(p.since))
	return w
}

// tire lets the sender go, which was held back for as long as it may be.
func (b *backlog) tire() {
	b.mu.Lock()
	if b.pressure.sender == nil || time.Now().Before(b.pressure.until) {
		b.mu.Unlock() // the timer was stopped too late
		return
	}
	b.pressure.spent = true
	w := b.release()
	b.mu.Unlock()
	w.Wake()
}
