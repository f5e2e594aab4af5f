package compare

import (
	"context"
	"errors"
	"testing"
	"time"

	"vsockets.dev/internal/bench"
)

// flaky is a transport that fails so many times, and its links count.
type flaky struct {
	failures  int
	runs      int
	open      int
	forMetric bench.Kind // which fail; "" is all
}

func (*flaky) Name() string { return "flaky" }

func (f *flaky) Open(context.Context, string, childFunc) (link, error) {
	f.open++
	return f, nil
}

func (f *flaky) Close() error { f.open--; return nil }

func (f *flaky) Run(_ context.Context, j bench.Job) (bench.Result, error) {
	f.runs++
	if f.failures > 0 && (f.forMetric == "" || f.forMetric == j.Kind) {
		f.failures--
		return bench.Result{}, errors.New("it stands still")
	}
	return bench.Result{Bytes: 1, Elapsed: 1, Latency: new(bench.Latency)}, nil
}

// TestFailures joins anew what fails, and leaves out what keeps failing.
func TestFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		flaky    flaky
		restarts int
		out      bool
		failed   int // metrics
	}{
		"works":            {flaky: flaky{}},
		"fails once":       {flaky: flaky{failures: 1}, restarts: 1},
		"fails in one":     {flaky: flaky{failures: maxTries, forMetric: bench.Echo}, restarts: maxTries, failed: 1},
		"never works":      {flaky: flaky{failures: 1000}, restarts: maxTries - 1, out: true},
		"one kind is gone": {flaky: flaky{failures: 1000, forMetric: bench.Connect}, restarts: 2 * maxTries, failed: 2},
	} {
		t.Run(name, func(t *testing.T) {
			f := tc.flaky
			c := Config{Rounds: 2, Time: time.Millisecond}
			p := newContender(&f, t.TempDir(), nil)
			p.open(t.Context())
			if err := c.rounds(t.Context(), []*contender{p}); err != nil {
				t.Fatal(err)
			}
			if err := p.close(); err != nil {
				t.Fatal(err)
			}
			e := p.entry
			if e.Restarts != tc.restarts || (e.Error != "") != tc.out || len(e.Failed) != tc.failed {
				t.Errorf("%d restarts, error %q, failed %v; want %d, %v, %d", e.Restarts, e.Error, e.Failed, tc.restarts, tc.out, tc.failed)
			}
			if f.open != 0 {
				t.Errorf("%d links are left open", f.open)
			}
			if !tc.out && len(e.Metrics)+len(e.Failed) != len(metrics()) {
				t.Errorf("%d of %d metrics", len(e.Metrics), len(metrics()))
			}
		})
	}
}
