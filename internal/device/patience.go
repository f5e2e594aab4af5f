package device

import (
	"sync"
	"sync/atomic"
	"time"
)

// patience is what a guest may do wrong before it is heard less. Breaking a rule costs a
// guest next to nothing, and the device no little: a goroutine that answers nonsense at
// full speed takes its processor from those that serve others. So a guest that breaks rules
// more often than by mistake rests after each batch of packets in which it did, for
// some times as long as it was heard since the rest before: what comes without a fault
// between two faults may well be what makes these dear, as data beyond the credit is.
//
// Use newPatience.
type patience struct {
	faults atomic.Uint64
	wary   atomic.Bool // the faults were too many

	mu    sync.Mutex
	left  float64 // faults that are no matter
	at    time.Time
	until time.Time     // rests until then
	paid  uint64        // faults for which it does
	heard time.Duration // since the last fault
}

const (
	// faultRate is how many faults in a second are no matter, and faultBurst how many
	// come at once. What others can have a guest do is none.
	faultRate  = 100
	faultBurst = 200

	// restFactor is how much longer than it was heard one rests. What is heard has others work
	// too, several times as long: those that it is for, and the garbage collector.
	restFactor = 19

	// longestBatch is the most that a batch counts for: a machine that has others to run
	// can make it take any time.
	longestBatch = time.Millisecond

	// mostHeard is the most that a fault counts for: so many of it that are no matter
	// take a second.
	mostHeard = time.Second / faultRate

	// leastRest is the shortest rest: what is shorter is added up.
	leastRest = time.Millisecond
)

// newPatience gives one that has not been tried.
func newPatience() *patience { return &patience{left: faultBurst, at: time.Now()} }

// fault notes that a rule was broken so many times.
func (p *patience) fault(n uint64) {
	p.faults.Add(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refill(time.Now())
	p.left = max(p.left-float64(n), -faultBurst)
	if p.left < 0 {
		p.wary.Store(true)
	}
}

// refill needs mu.
func (p *patience) refill(now time.Time) {
	p.left = min(p.left+faultRate*now.Sub(p.at).Seconds(), faultBurst)
	p.at = now
	if p.left > faultBurst/2 {
		p.wary.Store(false)
	}
}

// hearing is a batch of packets that is being heard: since when, zero if that does not
// matter.
type hearing struct{ began time.Time }

// begin tells for how long to rest first; if that is 0, a batch begins.
func (p *patience) begin() (h hearing, rest time.Duration) {
	if !p.wary.Load() {
		return h, 0
	}
	now := time.Now()
	p.mu.Lock()
	p.refill(now)
	rest = p.until.Sub(now)
	p.mu.Unlock()
	if rest >= leastRest {
		return h, rest
	}
	return hearing{now}, 0
}

// end is called after a batch that began. If there were faults since the one before, it is
// paid for: some are found by others, and later.
func (p *patience) end(h hearing) {
	if h.began.IsZero() {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := min(now.Sub(h.began), longestBatch)
	p.heard = min(p.heard+took, mostHeard)
	faults := p.faults.Load()
	if faults == p.paid {
		return
	}
	p.paid = faults
	if p.left < 0 {
		took = p.heard
	}
	p.heard = 0
	if p.until.Before(now) {
		p.until = now
	}
	p.until = p.until.Add(restFactor * took)
}
