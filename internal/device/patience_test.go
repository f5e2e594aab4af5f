package device

import (
	"testing"
	"testing/synctest"
	"time"
)

// hear has a batch be heard that takes so long, with so many faults, and tells for how
// long there was rest before it.
func hear(p *patience, took time.Duration, faults uint64) (rested time.Duration) {
	start := time.Now()
	for {
		h, rest := p.begin()
		if rest == 0 {
			rested = time.Since(start)
			<-time.After(took)
			if faults > 0 {
				p.fault(faults)
			}
			p.end(h)
			return rested
		}
		<-time.After(rest)
	}
}

func TestPatience(t *testing.T) {
	const batch = 100 * time.Microsecond
	for name, tc := range map[string]struct {
		faults      uint64 // of each batch
		pause       time.Duration
		batches     int
		least, most float64 // part of the time that is rest
	}{
		"no fault":                 {0, 0, 10_000, 0, 0},
		"a fault now and then":     {1, 2 * time.Millisecond, 10_000, 0, 0},
		"a burst, once a second":   {500, time.Second, 10, 0, 0},
		"nothing but faults":       {64, 0, 10_000, .9, .96},
		"a fault in each batch":    {1, 0, 10_000, .7, .96},
		"too many, in little time": {4, 2 * time.Millisecond, 10_000, 0, .1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPatience()
				start := time.Now()
				var rest time.Duration
				for range tc.batches {
					rest += hear(p, batch, tc.faults)
					<-time.After(tc.pause)
				}
				if part := rest.Seconds() / time.Since(start).Seconds(); part < tc.least || part > tc.most {
					t.Errorf("it rests for %.2f of the time, want %.2f to %.2f", part, tc.least, tc.most)
				}
			})
		})
	}
}

// A fault may come with many packets that have none, and be dear for these.
func TestPatienceBetweenFaults(t *testing.T) {
	for _, batch := range []time.Duration{10 * time.Microsecond, 100 * time.Microsecond} {
		for _, between := range []int{0, 3, 12, 40} {
			synctest.Test(t, func(t *testing.T) {
				p := newPatience()
				var rest, heard time.Duration
				for i := range 100_000 {
					faults := uint64(0)
					if i%(between+1) == 0 {
						faults = 1
					}
					if r := hear(p, batch, faults); i > 20_000 {
						rest += r
						heard += batch
					}
				}
				// What remains are the faults that are no matter, and what comes with these.
				free := float64(faultRate*(between+1)) * batch.Seconds()
				if part := heard.Seconds() / (rest + heard).Seconds(); part > .1+free {
					t.Errorf("batches of %v, %d between faults: heard %.2f of the time, want %.2f at most", batch, between, part, .1+free)
				}
			})
		}
	}
}

// Whoever mends his ways is heard as before.
func TestPatienceForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatience()
		for range 1000 {
			hear(p, time.Millisecond, 64)
		}
		<-time.After(2 * time.Second)
		for range 1000 {
			if rest := hear(p, time.Millisecond, 0); rest > 0 {
				t.Fatalf("rests for %v", rest)
			}
		}
	})
}
