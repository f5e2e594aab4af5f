package compare

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"vsockets.dev/internal/bench"
)

// ScaleConfig says how far to go.
type ScaleConfig struct {
	Contexts int           // attached ones
	Conns    int           // idle connections, in all
	Streams  int           // that move data together
	Rounds   int           // of all but the idle ones
	Time     time.Duration // of each measurement
	IdleTime time.Duration // of the idle ones

	Child    childFunc         // as in Config
	Progress func(what string) // if it is there
}

func (c *ScaleConfig) check() error {
	if c.Contexts < 1 || c.Contexts > vswitchContexts || c.Conns < c.Contexts || c.Conns > bench.MaxExtra {
		return bench.ConfigErrorf("compare: %d connections of %d contexts; choose 1 to %d contexts, and as many connections up to %d",
			c.Conns, c.Contexts, vswitchContexts, bench.MaxExtra)
	}
	if c.Streams < 2 || c.Streams > bench.MaxStreams || c.Rounds < 1 || c.Time <= 0 || c.Time > bench.MaxTime {
		return bench.ConfigErrorf("compare: %d streams, %d rounds of %v; choose 2 to %d streams, and at least 1 round of up to %v",
			c.Streams, c.Rounds, c.Time, bench.MaxStreams, bench.MaxTime)
	}
	return nil
}

// vswitchContexts is the most contexts that are attached: each takes a dozen
// descriptors.
const vswitchContexts = 1000

func (c *ScaleConfig) tell(what string) {
	if c.Progress != nil {
		c.Progress(what)
	}
}

// ScaleReport is what came of it.
type ScaleReport struct {
	Version int           `json:"version"`
	Machine Machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Time    time.Duration `json:"time_ns"`
	Idle    IdleCost      `json:"idle"`
	Points  []*Point      `json:"points"`
	Targets []ScaleTarget `json:"targets"`
}

// IdleCost is what contexts and connections take on which nothing moves.
type IdleCost struct {
	Contexts     int     `json:"contexts"`
	Conns        int     `json:"connections"`
	CPUShare     float64 `json:"cpu_share"`      // of a core, of both ends and the switch
	BytesPerConn float64 `json:"bytes_per_conn"` // of each end, buffers included
}

// Point is one measurement among many connections.
type Point struct {
	Kind    string    `json:"kind"`           // up, down: Gb/s; connect: a second; echo: µs
	Over    string    `json:"over,omitempty"` // what it is compared with: unix, limit; nothing: an attached context
	Conns   int       `json:"conns"`          // streams that move data, or idle ones beside
	Stalled int       `json:"stalled,omitempty"`
	Values  []float64 `json:"values"` // by round
	Median  float64   `json:"median"`
}

// same says whether a value of one belongs to the other.
func (p *Point) same(q *Point) bool {
	return p.Kind == q.Kind && p.Over == q.Over && p.Conns == q.Conns && p.Stalled == q.Stalled
}

func (r *ScaleReport) add(p Point, v float64) {
	for _, q := range r.Points {
		if q.same(&p) {
			q.Values = append(q.Values, v)
			return
		}
	}
	p.Values = []float64{v}
	r.Points = append(r.Points, &p)
}

// ScaleTarget is a target, and what was measured.
type ScaleTarget struct {
	What    string  `json:"what"`
	Target  float64 `json:"target"` // 0: none, it is what others do
	Value   float64 `json:"value"`
	AtMost  bool    `json:"at_most,omitempty"`
	Reached bool    `json:"reached"`
}

// Targets of scaling.
const (
	maxIdleShare    = 0.005 // of a core
	maxBytesPerConn = 4096
	minTogether     = 0.8 // of what one stream moves
	minBesideSlow   = 0.9 // of what they move without the slow one: nothing, but for noise
	minInCrowd      = 0.8 // connections a second beside the most, against beside the fewest
)

func (r *ScaleReport) summarize() {
	for _, p := range r.Points {
		p.Median = median(p.Values)
	}
	r.Targets = []ScaleTarget{
		{What: fmt.Sprintf("idle: share of a core, %d contexts and %d connections", r.Idle.Contexts, r.Idle.Conns), Target: maxIdleShare, Value: r.Idle.CPUShare, AtMost: true},
		{What: "idle: bytes for each end of a connection", Target: maxBytesPerConn, Value: r.Idle.BytesPerConn, AtMost: true},
	}
	for _, kind := range []string{string(bench.Up), string(bench.Down)} {
		own, unix, ring := r.streams(kind, ""), r.streams(kind, overUnix), r.streams(kind, limitName)
		r.compare(fmt.Sprintf("%s: many streams together against one", kind), minTogether, own.many, own.one)
		r.compare(fmt.Sprintf("%s: the same over Unix sockets", kind), 0, unix.many, unix.one)
		r.compare(fmt.Sprintf("%s: many streams together against as many over Unix sockets", kind), 0, own.many, unix.many)
		r.compare(fmt.Sprintf("%s: a bare ring with as many blocks and buffers, against one of each", kind), 0, ring.many, ring.one)
		r.compare(fmt.Sprintf("%s: many streams together against that ring", kind), 0, own.many, ring.many)
		r.compare(fmt.Sprintf("%s: beside one that nobody reads, against without it", kind), minBesideSlow, own.slow, own.many)
	}
	var first, last *Point
	for _, p := range r.Points {
		if p.Kind == "connect" {
			if first == nil {
				first = p
			}
			last = p
		}
	}
	if first != nil {
		r.compare(fmt.Sprintf("connections a second beside %d idle ones, against beside %d", last.Conns, first.Conns), minInCrowd, last, first)
	}
	for i := range r.Targets {
		t := &r.Targets[i]
		t.Reached = t.Value >= t.Target
		if t.AtMost {
			t.Reached = t.Value <= t.Target
		}
	}
}

// overUnix is Point.Over of what moves between the same processes over Unix sockets.
const overUnix = "unix"

// streamPoints are the points of streams that move data one way.
type streamPoints struct{ one, many, slow *Point }

func (r *ScaleReport) streams(kind, over string) (s streamPoints) {
	for _, p := range r.Points {
		switch {
		case p.Kind != kind || p.Over != over:
		case p.Stalled > 0:
			s.slow = p
		case p.Conns == 1:
			s.one = p
		default:
			s.many = p
		}
	}
	return s
}

func (r *ScaleReport) compare(what string, target float64, a, b *Point) {
	if a != nil && b != nil && b.Median > 0 {
		r.Targets = append(r.Targets, ScaleTarget{What: what, Target: target, Value: a.Median / b.Median})
	}
}

// ParseScale reads a report that was stored as JSON.
func ParseScale(text []byte) (*ScaleReport, error) {
	var r ScaleReport
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("compare: scale report: %w", err)
	}
	if r.Version != reportVersion {
		return nil, fmt.Errorf("compare: a scale report of version %d, and this program knows %d; measure anew", r.Version, reportVersion)
	}
	for _, p := range r.Points {
		if p == nil || len(p.Values) == 0 {
			return nil, fmt.Errorf("compare: scale report: a point has no values")
		}
	}
	r.summarize()
	return &r, nil
}

// Rewrite puts the tables between the markers of a document.
func (r *ScaleReport) Rewrite(doc []byte) ([]byte, error) {
	return rewrite(doc, "scale", r.Table())
}

// Table is the report in Markdown, which a terminal can show as well.
func (r *ScaleReport) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds of %v each.", r.Rounds, r.Time)
	if r.Machine.OthersBusy >= 0 {
		fmt.Fprintf(&b, " Other programs kept %.2f of a core busy meanwhile.", r.Machine.OthersBusy)
	}
	b.WriteString("\n\n")
	b.WriteString("| what | target | measured | |\n|---|---:|---:|---|\n")
	for _, t := range r.Targets {
		if t.Target == 0 {
			fmt.Fprintf(&b, "| %s | – | %s | |\n", t.What, scaleNumber(t.Value))
			continue
		}
		sign, word := "≥", "not reached"
		if t.AtMost {
			sign = "≤"
		}
		if t.Reached {
			word = "reached"
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s |\n", t.What, sign, scaleNumber(t.Target), scaleNumber(t.Value), word)
	}
	b.WriteString("\n| measurement | over | connections | that nobody reads | median |\n|---|---|---:|---:|---:|\n")
	units := map[string]string{"up": "Gb/s", "down": "Gb/s", "connect": "1/s", "echo": "µs, p50"}
	for _, p := range r.Points {
		over := "attach-host"
		if p.Over != "" {
			over = p.Over
		}
		fmt.Fprintf(&b, "| %s, %s | %s | %d | %d | %s |\n", p.Kind, units[p.Kind], over, p.Conns, p.Stalled, number(p.Median))
	}
	return b.String()
}

// scaleNumber is for shares too.
func scaleNumber(v float64) string {
	if v > 0 && v < 0.1 {
		return fmt.Sprintf("%.4f", v)
	}
	return number(v)
}
