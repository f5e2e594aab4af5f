package compare

import (
	"fmt"

	"vsockets.dev/internal/bench"
)

// target is what a transport should reach, as a ratio to another one.
type target struct {
	who, against string
	metrics      []string // each of them
	ratio        float64
	atMost       bool
}

// OtherDevice is the name of the device that targets are about.
const OtherDevice = "vhost-device-vsock"

// targets are those of the project.
func targets() (all []target) {
	for _, row := range []struct {
		who, against string
		blocks       [3]float64 // of Blocks
		round        float64
		connects     float64
	}{
		{"attach-host", baseName, [3]float64{2, 4, 8}, 1. / 5, 3},
		{"attach-attach", baseName, [3]float64{1.2, 2, 4}, 1. / 2, 1.5},
		{"attach-host", OtherDevice, [3]float64{2, 3, 4}, 1. / 3, 3},
	} {
		for i, block := range Blocks {
			all = append(all, target{
				who: row.who, against: row.against, ratio: row.blocks[i],
				metrics: []string{throughput(bench.Up, block), throughput(bench.Down, block)},
			})
		}
		all = append(all,
			target{who: row.who, against: row.against, ratio: row.round, atMost: true, metrics: []string{roundTrip}},
			target{who: row.who, against: row.against, ratio: row.connects, metrics: []string{connects(1)}},
		)
	}
	up := throughput(bench.Up, Blocks[0])
	return append(all, target{who: "attach-host", against: limitName, ratio: 0.7, metrics: []string{up}})
}

// Verdict is a target, and what was reached.
type Verdict struct {
	Who      string  `json:"who"`
	Against  string  `json:"against"`
	Metric   string  `json:"metric"`
	Target   float64 `json:"target"`
	AtMost   bool    `json:"at_most,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"`
	Measured bool    `json:"measured"`
	Reached  bool    `json:"reached"`
}

func judge(r *Report) (all []Verdict) {
	for _, t := range targets() {
		for _, m := range t.metrics {
			v := Verdict{Who: t.who, Against: t.against, Metric: m, Target: t.ratio, AtMost: t.atMost}
			a, ok1 := r.median(t.who, m)
			b, ok2 := r.median(t.against, m)
			if ok1 && ok2 && b > 0 {
				v.Measured, v.Ratio = true, a/b
				v.Reached = v.Ratio >= t.ratio
				if t.atMost {
					v.Reached = v.Ratio <= t.ratio
				}
			}
			all = append(all, v)
		}
	}
	return all
}

// want is the target in words.
func (v Verdict) want() string {
	if v.AtMost {
		return "≤ " + ratio(v.Target)
	}
	return "≥ " + ratio(v.Target)
}

// word is what came of it.
func (v Verdict) word() string {
	switch {
	case !v.Measured:
		return "not measured"
	case v.Reached:
		return "reached"
	}
	return "not reached"
}

func (v Verdict) String() string {
	return fmt.Sprintf("%-14s / %-20s %-12s %8s %8s  %s", v.Who, v.Against, v.Metric, v.want(), ratio(v.Ratio), v.word())
}
