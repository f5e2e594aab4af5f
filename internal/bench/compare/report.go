package compare

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"vsockets.dev/internal/bench"
)

const reportVersion = 1

// Report is a comparison, as it is stored.
type Report struct {
	Version int           `json:"version"`
	Machine Machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Time    time.Duration `json:"time_ns"` // of each measurement
	Entries []*Entry      `json:"transports"`
	Targets []Verdict     `json:"targets"`
}

// Machine says what it was measured on, and nothing of whose it is.
type Machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu,omitempty"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel,omitempty"`
	Go     string `json:"go"`

	// OthersBusy is how many cores other programs kept busy in the meantime, those
	// of devices included; -1 where the system does not tell.
	OthersBusy float64 `json:"others_busy"`
}

func describeMachine() Machine {
	m := Machine{
		Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Go: runtime.Version(), OthersBusy: -1,
	}
	m.Kernel, m.CPU = kernelAndCPU()
	return m
}

// Entry is a transport in a report.
type Entry struct {
	Name     string                    `json:"name"`
	Error    string                    `json:"error,omitempty"`    // why it is out
	Restarts int                       `json:"restarts,omitempty"` // it had to be joined anew, since nothing moved
	Failed   map[string]string         `json:"failed,omitempty"`   // by metric: why there is none
	Metrics  map[string][]bench.Result `json:"rounds"`             // by metric, all rounds
	Summary  map[string]Summary        `json:"summary"`
}

// Summary is what the rounds of a metric come to.
type Summary struct {
	Unit     string  `json:"unit"`
	Median   float64 `json:"median"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	ToUnix   float64 `json:"to_unix,omitempty"`    // median as a ratio to that of unix
	Failures uint64  `json:"failures,omitempty"`   // connections, in all rounds
	CPUPerGB float64 `json:"cpu_per_gb,omitempty"` // median, in seconds
}

// entry finds a transport that has results.
func (r *Report) entry(name string) *Entry {
	for _, e := range r.Entries {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// median of a metric, and whether there is one.
func (r *Report) median(name, metric string) (float64, bool) {
	e := r.entry(name)
	if e == nil {
		return 0, false
	}
	s, ok := e.Summary[metric]
	return s.Median, ok
}

// summarize computes all that follows from the rounds.
func (r *Report) summarize() {
	for _, e := range r.Entries {
		e.Summary = map[string]Summary{}
		for _, m := range metrics() {
			rounds := e.Metrics[m.name]
			if len(rounds) == 0 {
				continue
			}
			var values, cpu []float64
			for _, one := range rounds {
				values, cpu = append(values, m.value(one)), append(cpu, one.CPUPerGB())
			}
			s := Summary{Unit: m.unit, Median: median(values), Low: slices.Min(values), High: slices.Max(values)}
			for _, one := range rounds {
				s.Failures += one.Failed
			}
			if m.moves() {
				s.CPUPerGB = median(cpu)
			}
			e.Summary[m.name] = s
		}
	}
	for _, e := range r.Entries {
		for name, s := range e.Summary {
			if base, ok := r.median(baseName, name); ok && base > 0 {
				s.ToUnix = s.Median / base
				e.Summary[name] = s
			}
		}
	}
	r.Targets = judge(r)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Table is the report for a terminal.
func (r *Report) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds of %v; %d cores, kernel %s, %s; others kept %.2f of a core busy\n\n",
		r.Rounds, r.Time, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.OthersBusy)
	row := func(title string, cell func(*Entry) string) {
		fmt.Fprintf(&b, "%-32s", title)
		for _, e := range r.Entries {
			fmt.Fprintf(&b, " %18s", cell(e))
		}
		b.WriteString("\n")
	}
	row("", func(e *Entry) string { return e.Name })
	for _, m := range metrics() {
		row(m.title+", "+m.unit, func(e *Entry) string {
			s, ok := e.Summary[m.name]
			if !ok {
				return "-"
			}
			return fmt.Sprintf("%s %6s", number(s.Median), ratio(s.ToUnix))
		})
	}
	for _, m := range metrics() {
		if !m.moves() {
			continue
		}
		row("  CPU s/GB, "+m.title, func(e *Entry) string {
			s, ok := e.Summary[m.name]
			if !ok {
				return "-"
			}
			return number(s.CPUPerGB)
		})
	}
	for _, line := range r.remarks() {
		fmt.Fprintf(&b, "\n%s", line)
	}
	b.WriteString("\n\n")
	for _, v := range r.Targets {
		fmt.Fprintln(&b, v)
	}
	return b.String()
}

// number has three digits that matter, or two of what is small.
func number(v float64) string {
	switch {
	case v > 0 && v < 0.1:
		return fmt.Sprintf("%.2g", v)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v) + "x"
}
