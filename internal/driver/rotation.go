package driver

import (
	"slices"
	"time"
)

// rotation chooses how many buffers of a queue go round while the other side keeps up. Few of
// them stay in the cache that each processor has for itself, and every byte goes from one such
// cache to the other. Many fall out of it, into one that the processors may share, and which
// then gives them faster than the other processor does. What is best depends on the machine, if
// that is virtual on where it runs just then, and on the packets. So it is measured: how long a
// byte takes as things are, and after it with more or with fewer, in turn, over and over. The
// queue's owner locks it.
type rotation struct {
	sizes []int // to choose from, rising
	at    int   // the index of the one chosen
	step  int   // from there to the one that is tried just now; 0: none is
	next  int   // the step of the trial to come, 1 or -1

	skip    int // packets until it is measured
	span    int // as many go by from one trial to the next
	since   time.Time
	packets int // since then, of one sample
	bytes   int
	samples [trialSamples]float64 // nanoseconds a byte
	n       int                   // how many of these there are
	usual   float64               // their median before the trial
}

const (
	// leastMeasured is the least payload that counts, in bytes: with smaller packets it is
	// not the copying that takes time.
	leastMeasured = 2 << 10

	// A trial, and what it is compared with, is the median of so many samples, of trialEach
	// packets each. A trial is measured after as many packets as there are buffers.
	trialSamples = 16
	trialEach    = 8

	// betterBy is by how much a trial must be better: an eighth.
	betterBy = 8

	// The first trial comes after leastSpan packets, and so does the next one after a
	// change. Each in vain has the next come later, up to mostSpan, where trials are 1 % of
	// all packets.
	leastSpan = 512
	mostSpan  = 32 << 10
)

// With packets of 64 KiB, the fewest fit into a cache of a megabyte, and the most do not. RX
// takes more than TX: of small packets' buffers, the device has none until a batch is back.
var (
	txRotation = []int{4, 16, 64}
	rxRotation = []int{8, 32, queueSize}
)

// newRotation begins in the middle.
func newRotation(sizes []int) rotation {
	return rotation{sizes: sizes, at: len(sizes) / 2, next: 1, skip: leastSpan, span: leastSpan}
}

// buffers is how many go round.
func (r *rotation) buffers() int { return r.sizes[r.at+r.step] }

// moved tells of a packet with so much payload that has gone or come.
func (r *rotation) moved(payload int) {
	switch {
	case payload < leastMeasured:
		return
	case r.skip > 0:
		if r.skip--; r.skip == 0 {
			r.since = time.Now()
		}
		return
	}
	r.packets++
	r.bytes += payload
	if r.packets < trialEach {
		return
	}
	now := time.Now()
	r.samples[r.n] = float64(now.Sub(r.since)) / float64(r.bytes)
	r.since, r.packets, r.bytes = now, 0, 0
	if r.n++; r.n == trialSamples {
		r.n = 0
		slices.Sort(r.samples[:])
		r.judge(r.samples[trialSamples/2])
	}
}

// judge ends a trial, or begins one, with what a byte took.
func (r *rotation) judge(cost float64) {
	switch {
	case r.step == 0:
		if to := r.at + r.next; to < 0 || to == len(r.sizes) {
			r.next = -r.next
		}
		r.usual, r.step, r.skip = cost, r.next, queueSize
		return
	case cost < r.usual-r.usual/betterBy:
		r.at, r.span = r.at+r.step, leastSpan
	default:
		r.next, r.span = -r.next, min(2*r.span, mostSpan)
	}
	r.step, r.skip = 0, r.span
}
