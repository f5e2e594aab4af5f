package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"vsockets.dev/internal/bench"
)

// RelayConfig says how to measure what goes through a relay: a process that joins
// each connection it takes to a new one.
type RelayConfig struct {
	Rounds int
	Time   time.Duration // of each measurement

	// Child is as in Config. Forward makes the command of our relay, vsock forward,
	// with these arguments. Socat is the program of that name; none: it is left out.
	Child   childFunc
	Forward func(ctx context.Context, args ...string) *exec.Cmd
	Socat   string

	// Progress is as in Config.
	Progress func(done, total int, what string)
}

// Names of relays. socat copies 8 KiB at a time unless it is told otherwise, and is
// given our own size as well, so that it is held against at its best.
const (
	forwardRelay  = "forward"
	socatRelay    = "socat"
	socatBigRelay = "socat -b 65536"
)

var relayNames = []string{forwardRelay, socatRelay, socatBigRelay}

// relayMetrics are the names of what is measured, in the order of tables.
var relayMetrics = []string{
	throughput(bench.Up, 64<<10), throughput(bench.Down, 64<<10),
	throughput(bench.Up, 4<<10), throughput(bench.Down, 4<<10), roundTrip,
}

// RelayReport is what came of it.
type RelayReport struct {
	Version  int            `json:"version"`
	Machine  Machine        `json:"machine"`
	Rounds   int            `json:"rounds"`
	Time     time.Duration  `json:"time_ns"`
	Socat    string         `json:"socat,omitempty"` // its version, if it was there
	Points   []*RelayPoint  `json:"points"`
	Failures []RelayFailure `json:"failures,omitempty"`
}

// RelayPoint is one measurement of one relay.
type RelayPoint struct {
	Path   string    `json:"path"`
	Relay  string    `json:"relay"`
	Metric string    `json:"metric"`
	Values []float64 `json:"values"` // by round
	Median float64   `json:"median"`
}

// RelayFailure says why a relay has no values, or too few.
type RelayFailure struct {
	Path  string `json:"path"`
	Relay string `json:"relay"`
	Why   string `json:"why"`
}

// add takes in what a relay did on a path.
func (r *RelayReport) add(path, relay string, e *Entry) {
	for _, name := range relayMetrics {
		p := &RelayPoint{Path: path, Relay: relay, Metric: name}
		for _, one := range e.Metrics[name] {
			p.Values = append(p.Values, metricNamed(name).value(one))
		}
		if len(p.Values) > 0 {
			p.Median = median(p.Values)
			r.Points = append(r.Points, p)
		}
		if why := e.Failed[name]; why != "" {
			r.Failures = append(r.Failures, RelayFailure{path, relay, metricNamed(name).title + ": " + why})
		}
	}
	if e.Error != "" {
		r.Failures = append(r.Failures, RelayFailure{path, relay, e.Error})
	}
}

func (r *RelayReport) median(path, relay, metric string) (float64, bool) {
	for _, p := range r.Points {
		if p.Path == path && p.Relay == relay && p.Metric == metric {
			return p.Median, true
		}
	}
	return 0, false
}

// against holds forward against the best of other relays.
func (r *RelayReport) against(path, metric string, others ...string) (ratio float64, word string) {
	ours, ok := r.median(path, forwardRelay, metric)
	less := metricNamed(metric).less
	best, found := 0., false
	for _, relay := range others {
		v, ok := r.median(path, relay, metric)
		if ok && (!found || less && v < best || !less && v > best) {
			best, found = v, true
		}
	}
	if !ok || !found || best <= 0 {
		return 0, ""
	}
	if ratio = ours / best; ratio == 1 || ratio > 1 == less {
		return ratio, "not ahead"
	}
	return ratio, "ahead"
}

// ParseRelay reads a report that was stored as JSON.
func ParseRelay(text []byte) (*RelayReport, error) {
	var r RelayReport
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("compare: relay report: %w", err)
	}
	if r.Version != reportVersion {
		return nil, fmt.Errorf("compare: a relay report of version %d, and this program knows %d; measure anew", r.Version, reportVersion)
	}
	for _, p := range r.Points {
		if p == nil || len(p.Values) == 0 || !slices.Contains(relayMetrics, p.Metric) {
			return nil, fmt.Errorf("compare: relay report: a point has no values, or is of no metric that a relay has")
		}
		p.Median = median(p.Values)
	}
	return &r, nil
}

// Rewrite puts the table between the markers of a document.
func (r *RelayReport) Rewrite(doc []byte) ([]byte, error) {
	return rewrite(doc, "relay", r.Table())
}

// Table is the report in Markdown, which a terminal can show as well.
func (r *RelayReport) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d interleaved rounds of %v each.", r.Rounds, r.Time)
	if r.Machine.OthersBusy >= 0 {
		fmt.Fprintf(&b, " Other programs kept %.2f of a core busy meanwhile.", r.Machine.OthersBusy)
	}
	if r.Socat != "" {
		fmt.Fprintf(&b, " %s.", r.Socat)
	} else {
		b.WriteString(" There was no socat to compare with.")
	}
	b.WriteString("\n\n| path | measurement |")
	for _, name := range relayNames {
		fmt.Fprintf(&b, " %s |", name)
	}
	fmt.Fprintf(&b, " against %s | against the better | |\n|---|---|%s---|\n", socatRelay, strings.Repeat("---:|", len(relayNames)+2))
	for _, path := range r.paths() {
		for _, name := range relayMetrics {
			m := metricNamed(name)
			fmt.Fprintf(&b, "| %s | %s, %s |", path, m.title, m.unit)
			for _, relay := range relayNames {
				cell := "–"
				if v, ok := r.median(path, relay, name); ok {
					cell = number(v)
				}
				fmt.Fprintf(&b, " %s |", cell)
			}
			plain, _ := r.against(path, name, socatRelay)
			better, word := r.against(path, name, relayNames[1:]...)
			fmt.Fprintf(&b, " %s | %s | %s |\n", ratio(plain), ratio(better), word)
		}
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "\n- %s through `%s`: %s\n", f.Path, f.Relay, f.Why)
	}
	return b.String()
}

// paths are those that were measured, in order.
func (r *RelayReport) paths() (all []string) {
	for _, p := range r.Points {
		if !slices.Contains(all, p.Path) {
			all = append(all, p.Path)
		}
	}
	return all
}
