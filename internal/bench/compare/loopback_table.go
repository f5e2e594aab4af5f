package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// loopbackWithin is how far our API may be behind the other one.
const loopbackWithin = 0.03

// loopbackTable is empty if no APIs were compared.
func (r *GuestReport) loopbackTable() string {
	var b strings.Builder
	for _, g := range r.Guests {
		if len(g.Loopback) == 0 {
			continue
		}
		if b.Len() == 0 {
			c := (&GuestConfig{Rounds: r.Rounds, Time: r.Time}).apiConfig()
			fmt.Fprintf(&b, "\nOver the loopback of a guest's kernel: medians of %d interleaved rounds of %v each. ", c.Rounds, c.Time)
			b.WriteString("Speed is ours against the other's, the median of what it was in each round, and the interval that holds it with 95 %.\n\n")
			fmt.Fprintf(&b, "| guest | measurement | `%s` | `%s` | speed | interval | |\n|---|---|---:|---:|---:|---:|---|\n", OurAPI, OtherAPI)
		}
		for _, name := range guestMetrics {
			rowBegin(&b, g, name, g.Loopback, loopbackNames)
			v := loopbackSpeed(g.Loopback, name)
			if v.rounds == 0 {
				b.WriteString("  |  | not measured |\n")
				continue
			}
			fmt.Fprintf(&b, " %.3fx | %.3f–%.3f | %s |\n", v.median, v.low, v.high, v.word())
		}
	}
	return b.String()
}

// speed is that of our API against the other one.
type speed struct {
	median, low, high float64
	rounds            int
}

// loopbackSpeed compares round by round, since a guest has moods that last longer.
func loopbackSpeed(paths []*GuestPath, metric string) speed {
	var values [2][]float64
	for i, name := range loopbackNames {
		for _, p := range paths {
			if p.Name == name {
				values[i] = p.Values[metric]
			}
		}
	}
	var rounds []float64
	for i := range min(len(values[0]), len(values[1])) {
		v := values[0][i] / values[1][i]
		if metricNamed(metric).less {
			v = 1 / v
		}
		rounds = append(rounds, v)
	}
	n := len(rounds)
	if n == 0 {
		return speed{}
	}
	slices.Sort(rounds)
	// How many of n values are below their true median is binomial: the interval is
	// between the values 1.96 standard deviations of that to each side.
	off := 1.96 * math.Sqrt(float64(n)) / 2
	low := max(0, int(math.Round(float64(n)/2-off))-1)
	high := min(n-1, int(math.Round(float64(n)/2+off)))
	return speed{median: median(rounds), low: rounds[low], high: rounds[high], rounds: n}
}

// word is the verdict. It is open where the limit lies within the noise.
func (s speed) word() string {
	const limit = 1 - loopbackWithin
	switch percent := 100 * loopbackWithin; {
	case s.median >= limit:
		return fmt.Sprintf("within %.0f %%", percent)
	case s.high >= limit:
		return "open: the noise is larger"
	default:
		return fmt.Sprintf("not within %.0f %%", percent)
	}
}
