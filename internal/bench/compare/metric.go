package compare

import (
	"fmt"
	"strconv"

	"vsockets.dev/internal/bench"
)

// Blocks are the sizes of the blocks that throughput is measured with.
var Blocks = []int{64 << 10, 4 << 10, 64}

// ParallelConnects is how many clients connect at a time in the second measurement
// of connections.
const ParallelConnects = 8

// echoBlock is the size of the blocks of round trips.
const echoBlock = 64

// A metric is one measurement, and the number it is known by.
type metric struct {
	name  string
	title string
	unit  string
	job   bench.Job // without its time
	value func(bench.Result) float64
	less  bool // is better
}

// metrics are all measurements, in the order of tables.
func metrics() (all []metric) {
	for _, dir := range []bench.Kind{bench.Up, bench.Down} {
		for _, block := range Blocks {
			all = append(all, metric{
				name: throughput(dir, block), title: sizeName(block) + " " + string(dir), unit: "Gb/s",
				job:   bench.Job{Kind: dir, Block: block, Streams: 1},
				value: func(r bench.Result) float64 { return r.BytesPerSecond() * 8 / 1e9 },
			})
		}
	}
	all = append(all, metric{
		name: roundTrip, title: "round trip p50", unit: "µs", less: true,
		job:   bench.Job{Kind: bench.Echo, Block: echoBlock, Streams: 1},
		value: func(r bench.Result) float64 { return float64(r.Latency.P50) / 1e3 },
	})
	for _, n := range []int{1, ParallelConnects} {
		all = append(all, metric{
			name: connects(n), title: fmt.Sprintf("connections, %d at a time", n), unit: "1/s",
			job:   bench.Job{Kind: bench.Connect, Streams: n},
			value: bench.Result.OpsPerSecond,
		})
	}
	return all
}

// moves says whether it measures throughput.
func (m metric) moves() bool { return m.job.Kind == bench.Up || m.job.Kind == bench.Down }

// Names of metrics.
const roundTrip = "round-trip"

func throughput(dir bench.Kind, block int) string { return fmt.Sprintf("%s-%d", dir, block) }
func connects(n int) string                       { return fmt.Sprintf("connect-%d", n) }

func sizeName(n int) string {
	if n >= 1<<10 {
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n) + " B"
}
