package compare

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/bench"
)

// testRelayReport has forward between the two socats in throughput, and sooner than
// both.
func testRelayReport() *RelayReport {
	up := throughput(bench.Up, 64<<10)
	entry := func(n uint64, p50 time.Duration) *Entry {
		return &Entry{Metrics: map[string][]bench.Result{up: {moved(n), moved(n)}, roundTrip: {answered(p50)}}}
	}
	r := &RelayReport{Version: reportVersion, Rounds: 2, Time: time.Second, Socat: "socat version 1"}
	r.add("tcp → unix", forwardRelay, entry(2e9, 20*time.Microsecond))
	r.add("tcp → unix", socatRelay, entry(1e9, 30*time.Microsecond))
	r.add("tcp → unix", socatBigRelay, entry(4e9, 40*time.Microsecond))
	r.add("tcp → vsock", forwardRelay, entry(3e9, 10*time.Microsecond))
	r.add("unix → vsock", forwardRelay, &Entry{Error: "it broke"})
	return r
}

func TestRelayReport(t *testing.T) {
	r := testRelayReport()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRelay(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
	table := r.Table()
	for _, s := range []string{
		"| tcp → unix | 64 KiB up, Gb/s | 16.0 | 8.00 | 32.0 | 2.00x | 0.50x | not ahead |",
		"| tcp → unix | round trip p50, µs | 20.0 | 30.0 | 40.0 | 0.67x | 0.67x | ahead |",
		"| tcp → vsock | 64 KiB up, Gb/s | 24.0 | – | – |  |  |  |",
		"socat version 1.",
		"- unix → vsock through `forward`: it broke",
	} {
		if !strings.Contains(table, s) {
			t.Errorf("there is no %q in\n%s", s, table)
		}
	}
	doc, err := r.Rewrite([]byte("a<!-- bench:relay -->old<!-- /bench:relay -->z"))
	if err != nil || strings.Contains(string(doc), "old") || !strings.Contains(string(doc), table) {
		t.Errorf("%v: %s", err, doc)
	}
}

func TestParseRelay(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "{",
		"another version": `{"version": 99}`,
		"a null":          `{"version": 1, "points": [null]}`,
		"no values":       `{"version": 1, "points": [{"metric": "round-trip"}]}`,
		"another metric":  `{"version": 1, "points": [{"metric": "up-64", "values": [1]}]}`,
	} {
		if _, err := ParseRelay([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
