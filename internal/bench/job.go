package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Kind is what a job measures.
type Kind string

// The kinds of jobs.
const (
	Up      Kind = "up"      // throughput from the client to the server
	Down    Kind = "down"    // throughput from the server to the client
	Echo    Kind = "echo"    // round trips: a block there and back
	Connect Kind = "connect" // connect, 64 bytes, an answer of 64 bytes, close
)

// MaxStreams is the most connections that a job uses at a time.
const MaxStreams = 1024

// Job is one measurement.
type Job struct {
	Kind    Kind
	Block   int // bytes in each Write; not of Connect
	Streams int // connections at a time
	Time    time.Duration

	// Extra connections are open in the meantime.
	Extra Extra
}

// ConfigError says what cannot be measured as it was asked for.
type ConfigError string

// Error is what it says.
func (e ConfigError) Error() string { return string(e) }

// ConfigErrorf makes one.
func ConfigErrorf(format string, args ...any) error { return ConfigError(fmt.Sprintf(format, args...)) }

// Check says what a job asks for that cannot be.
func (j Job) Check() error {
	switch j.Kind {
	case Up, Down, Echo:
		if j.Block < 1 || j.Block > MaxBlock {
			return ConfigErrorf("bench: blocks of %d bytes; choose 1 to %d", j.Block, MaxBlock)
		}
	case Connect:
	default:
		return fmt.Errorf("bench: %q is no kind of job", j.Kind)
	}
	if j.Streams < 1 || j.Streams > MaxStreams {
		return ConfigErrorf("bench: %d streams; choose 1 to %d", j.Streams, MaxStreams)
	}
	if j.Time <= 0 || j.Time > MaxTime {
		return ConfigErrorf("bench: a time of %v; choose more than 0 and at most %v", j.Time, MaxTime)
	}
	return j.Extra.check()
}

// Result is what a job measured.
type Result struct {
	Bytes   uint64        `json:"bytes,omitempty"`  // of blocks, one way
	Ops     uint64        `json:"ops,omitempty"`    // round trips, or connections
	Failed  uint64        `json:"failed,omitempty"` // connections that failed, beside Ops
	Elapsed time.Duration `json:"elapsed_ns"`       // by the client's clock, from the first byte to the report
	CPU     time.Duration `json:"cpu_ns"`           // of both ends' processes
	Latency *Latency      `json:"latency,omitempty"`
}

// Latency is how long operations took, in nanoseconds.
type Latency struct {
	P50  int64 `json:"p50_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p99_9_ns"`
	Max  int64 `json:"max_ns"`
}

// LatencyOf sums up what histograms of nanoseconds hold.
func LatencyOf(all ...*hdrhistogram.Histogram) *Latency {
	h := newHistogram()
	for _, one := range all {
		h.Merge(one)
	}
	return &Latency{
		P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
}

// BytesPerSecond is the throughput.
func (r Result) BytesPerSecond() float64 { return perSecond(r.Bytes, r.Elapsed) }

// OpsPerSecond is how many operations were done in a second.
func (r Result) OpsPerSecond() float64 { return perSecond(r.Ops, r.Elapsed) }

// CPUPerGB is the CPU seconds that 10^9 bytes took.
func (r Result) CPUPerGB() float64 {
	if r.Bytes == 0 {
		return 0
	}
	return r.CPU.Seconds() / (float64(r.Bytes) / 1e9)
}

func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
