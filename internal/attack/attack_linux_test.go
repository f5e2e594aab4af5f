//go:build !race

package attack

import (
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vsockets.dev/vswitch"
)

// Measuring. The throughput of a short time varies, most of all on a machine that does
// other things too: where the first look is not good enough, the median of an odd number
// decides.
const (
	window    = 600 * time.Millisecond
	mostLooks = 15
	leastKept = 0.5 // of the throughput, as just before
)

// attack is one rule, or more, broken on purpose, or kept to with ill intent.
type attack struct {
	name string

	// broken is the counter that tells of it, nil if it breaks no rule.
	broken func(vswitch.Counters) uint64

	// run attacks until on is false. Then nothing of its own is left.
	run func(a *arena, on func() bool)
}

// TestAttacks holds the switch against each of them.
func TestAttacks(t *testing.T) {
	for _, at := range slices.Concat(packetAttacks, queueAttacks, sessionAttacks) {
		t.Run(at.name, func(t *testing.T) {
			at.test(t)
		})
	}
}

func (at *attack) test(t *testing.T) {
	a := newArena(t)
	a.settle()
	near := a.newBystander()
	start := a.settle()
	stop := a.watch()
	var looks [][]float64 // what each flow kept
	var counted uint64
	for len(looks) < mostLooks {
		before := a.rates(burn)
		var on atomic.Bool
		on.Store(true)
		over := make(chan struct{})
		under := a.rates(func() {
			go func() { defer close(over); at.run(a, on.Load) }()
			<-time.After(window)
		})
		on.Store(false)
		<-over
		if t.Failed() {
			return
		}
		if at.broken != nil {
			c := a.ask("").counters()
			n := at.broken(c)
			if n <= counted {
				t.Errorf("no counter tells of it: %+v", c)
			}
			counted = n
		}
		kept := make([]float64, len(before))
		for i := range before {
			kept[i] = under[i] / before[i]
		}
		looks = append(looks, kept)
		if len(looks) == 1 && slices.Min(kept) >= leastKept || decided(looks) {
			break
		}
	}
	kept := medians(looks)
	most := stop()
	end := a.left(start)
	t.Logf("the honest ones keep %.2f of their throughput (%d looks: %.2f), the switch takes %d MiB at most (%d MiB when it is over), %d are counted",
		kept, len(looks), looks, most>>20, a.memory()>>20, counted)
	if slices.Min(kept) < leastKept {
		t.Errorf("honest contexts keep %.2f of their throughput, want %.2f", kept, leastKept)
	}
	if most > MemoryBound {
		t.Errorf("the switch took %d MiB of memory, want %d at most", most>>20, MemoryBound>>20)
	}
	if end.Calls == start.Calls {
		t.Error("honest contexts made no connection")
	}
	near.leave()
	a.ask(endLine)
}

// decided says whether the median of all looks, once they were made, is known to be enough
// for every flow, or not to be for one.
func decided(looks [][]float64) bool {
	const most = mostLooks / 2
	enough := true
	for i := range looks[0] {
		bad := 0
		for _, kept := range looks {
			if kept[i] < leastKept {
				bad++
			}
		}
		if bad > most {
			return true
		}
		enough = enough && len(looks)-bad > most
	}
	return enough
}

// burn takes the attacker's processor as an attack does, but for the attack. On a machine that
// does other things too, these would else move to that processor while there is no
// attack, and to that of the switch while there is.
func burn() {
	for end := time.Now().Add(window); time.Now().Before(end); {
		runtime.Gosched()
	}
}

// medians gives the median of each flow.
func medians(looks [][]float64) []float64 {
	m := make([]float64, len(looks[0]))
	for i := range m {
		var of []float64
		for _, l := range looks {
			of = append(of, l[i])
		}
		slices.Sort(of)
		m[i] = of[len(of)/2]
	}
	return m
}

// settle waits until the honest ones are at work.
func (a *arena) settle() status {
	a.t.Helper()
	for limit := time.Now().Add(waitLimit); ; {
		s := a.ask("")
		if slices.Min(s.Flows) > 64<<20 && s.Calls > 5 {
			return s
		}
		if time.Now().After(limit) {
			a.t.Fatalf("honest contexts: %v bytes, %d calls", s.Flows, s.Calls)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// rates tells the throughput of each flow while f runs.
func (a *arena) rates(f func()) []float64 {
	a.t.Helper()
	from := a.ask("")
	f()
	to := a.ask("")
	var r []float64
	for i := range from.Flows {
		r = append(r, float64(to.Flows[i]-from.Flows[i])/to.At.Sub(from.At).Seconds())
	}
	return r
}

// left waits until nothing is left of the attacker.
func (a *arena) left(start status) status {
	a.t.Helper()
	for limit := time.Now().Add(waitLimit); ; {
		s := a.ask("")
		var left []string
		for _, i := range s.Contexts {
			switch {
			case i.CID >= firstPool && i.CID <= lastPool:
				left = append(left, i.Kind)
			case i.CID == attackerCID && (i.Connections > 0 || i.Buffered > 0 || !i.Since.IsZero()):
				left = append(left, "connections or bytes")
			}
		}
		// A call may be on its way.
		if s.Goroutines > start.Goroutines+4 {
			left = append(left, "goroutines")
		}
		if s.Files > start.Files {
			left = append(left, "files")
		}
		if len(left) == 0 {
			return s
		}
		if time.Now().After(limit) {
			a.t.Fatalf("left of the attacker: %s: %+v, before %+v", strings.Join(left, ", "), s, start)
		}
		<-time.After(10 * time.Millisecond)
	}
}
