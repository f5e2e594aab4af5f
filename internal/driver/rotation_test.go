package driver

import (
	"testing"
	"testing/synctest"
	"time"
)

// As many buffers go round as the packets are fastest with, and trials are few.
func TestRotation(t *testing.T) {
	const (
		packets = 100_000
		size    = 16 << 10
		slow    = 800 * time.Nanosecond
		fast    = 500 * time.Nanosecond
	)
	sizes := []int{4, 16, 64}
	// fastest gives the time of a packet where so many buffers are the fastest, and the
	// nearer to that the faster.
	fastest := func(best int) func(int, int) time.Duration {
		return func(_, buffers int) time.Duration {
			d := fast
			for ; buffers < best; buffers *= 4 {
				d += slow - fast
			}
			for ; buffers > best; buffers /= 4 {
				d += slow - fast
			}
			return d
		}
	}
	for name, tt := range map[string]struct {
		size int
		time func(packet, buffers int) time.Duration
		want int // that go round, but in trials
	}{
		"the fewest":    {size, fastest(4), 4},
		"the middle":    {size, fastest(16), 16},
		"the most":      {size, fastest(64), 64},
		"no difference": {size, func(int, int) time.Duration { return fast }, 16},
		"hardly any": {size, func(_, buffers int) time.Duration {
			return fast - fast*time.Duration(buffers)/64/10
		}, 16},
		"with pauses": {size, func(packet, buffers int) time.Duration {
			if packet%50 == 0 {
				return 10 * time.Millisecond
			}
			return fastest(64)(packet, buffers)
		}, 64},
		"the most at first, then the fewest": {size, func(packet, buffers int) time.Duration {
			if packet < packets/3 {
				return fastest(64)(packet, buffers)
			}
			return fastest(4)(packet, buffers)
		}, 4},
		"too small to tell": {leastMeasured - 1, fastest(64), 16},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRotation(sizes)
				others := 0 // of the last third
				for i := range packets {
					n := r.buffers()
					<-time.After(tt.time(i, n))
					r.moved(tt.size)
					if i > packets*2/3 && n != tt.want {
						others++
					}
				}
				if others > packets/3/20 {
					t.Errorf("of %d packets, %d went with another number of buffers than %d", packets/3, others, tt.want)
				}
			})
		})
	}
}
