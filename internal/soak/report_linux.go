package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a soak found.
type Report struct {
	Seed     uint64
	Duration time.Duration // as wanted
	Took     time.Duration // with start and end
	Guests   []string

	Connections map[string]int // that came out as they should, by what was done
	Between     map[string]int // the same, by the kinds of the two ends
	Bytes       int64          // verified
	Faults      map[string]int // injected
	Expected    map[string]int // errors that a fault explains
	Corrupted   int
	Hangs       int

	// Before is the switch before anybody comes, After when all have left.
	Before, After Sample
	Samples       []Sample

	// Memory is the verdict on it.
	Memory string

	// Problems are all that is not as it should be. None: it held.
	Problems []string
}

func newReport(c Config) *Report {
	r := &Report{
		Seed: c.Seed, Duration: c.Duration,
		Connections: make(map[string]int), Between: make(map[string]int), Faults: make(map[string]int), Expected: make(map[string]int),
	}
	for _, m := range c.Machines {
		r.Guests = append(r.Guests, m.String())
	}
	return r
}

// done counts a connection that came out as it should.
func (r *Report) done(t task, from, to *node, bytes int64, err error) {
	r.Connections[t.name]++
	r.Between[fmt.Sprintf("%s to %s", from.kind, to.kind)]++
	if err == nil && t.port != portReceive || t.name == "send" {
		r.Bytes += bytes
	}
}

// The criterion for memory: of the time after warmUp of it, the median of the second
// half is not more than that of the first by memoryPart of that and memoryMore. It is
// judged if there are so many samples at least.
const (
	warmUp         = 0.25
	memoryPart     = 0.10
	memoryMore     = 2 << 20
	memoryAtLeast  = 100 // samples
	memoryJudgment = "after a quarter of the time as warm-up, the median of the last half of the rest is at most 10 % and 2 MiB above that of its first half"
)

// judgeMemory says whether memory is flat after warm-up.
func (r *Report) judgeMemory() {
	late := r.Samples[int(warmUp*float64(len(r.Samples))):]
	if len(late) < memoryAtLeast {
		r.Memory = fmt.Sprintf("not judged: %d samples after warm-up, which is less than %d", len(late), memoryAtLeast)
		return
	}
	for _, what := range []struct {
		name string
		of   func(Sample) int64
	}{
		{"memory", func(m Sample) int64 { return m.Anonymous }},
		{"live heap", func(m Sample) int64 { return m.LiveHeap }},
	} {
		first, last := median(late[:len(late)/2], what.of), median(late[len(late)/2:], what.of)
		verdict := fmt.Sprintf("%s %.1f MiB, then %.1f MiB", what.name, mib(first), mib(last))
		r.Memory += verdict + "; "
		if last > first+int64(memoryPart*float64(first))+memoryMore {
			r.Problems = append(r.Problems, fmt.Sprintf("it grows: %s; wanted: %s", verdict, memoryJudgment))
		}
	}
	r.Memory += "wanted: " + memoryJudgment
}

func median(all []Sample, of func(Sample) int64) int64 {
	var v []int64
	for _, m := range all {
		v = append(v, of(m))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "soak of %v (%v with start and end), seed %d, guests: %s\n", r.Duration, r.Took.Round(time.Second), r.Seed, strings.Join(r.Guests, ", "))
	counts := func(title string, m map[string]int) {
		sum := 0
		for _, n := range m {
			sum += n
		}
		fmt.Fprintf(&b, "%s: %d\n", title, sum)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "  %8d  %s\n", m[k], k)
		}
	}
	counts("connections that came out as they should", r.Connections)
	counts("the same, by their ends", r.Between)
	fmt.Fprintf(&b, "bytes verified: %.1f MiB\n", mib(r.Bytes))
	counts("faults injected", r.Faults)
	counts("errors expected, since a fault explains them", r.Expected)
	fmt.Fprintf(&b, "the switch          goroutines  descriptors  memory MiB  live heap MiB\n")
	line := func(name string, m Sample) {
		fmt.Fprintf(&b, "  %-16s  %10d  %11d  %10.1f  %13.1f\n", name, m.Goroutines, m.Files, mib(m.Anonymous), mib(m.LiveHeap))
	}
	line("before all came", r.Before)
	for _, m := range r.Samples {
		if m.Rest {
			line(fmt.Sprintf("at rest, %.0f s", m.After), m)
		}
	}
	line("when all had left", r.After)
	fmt.Fprintf(&b, "memory: %s\n", r.Memory)
	fmt.Fprintf(&b, "corrupted: %d, hangs: %d, problems: %d\n", r.Corrupted, r.Hangs, len(r.Problems))
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes all of it.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}
