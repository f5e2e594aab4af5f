package compare

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/bench"
)

// moved is a round in which so many bytes went in a second.
func moved(n uint64) bench.Result {
	return bench.Result{Bytes: n, Elapsed: time.Second, CPU: time.Second}
}

func answered(p50 time.Duration) bench.Result {
	return bench.Result{Ops: 1, Elapsed: time.Second, Latency: &bench.Latency{P50: int64(p50)}}
}

// testReport has attach-host move three times what unix does, in half the time.
func testReport() *Report {
	up := throughput(bench.Up, Blocks[0])
	r := &Report{Version: reportVersion, Rounds: 3, Time: time.Second, Entries: []*Entry{
		{Name: baseName, Metrics: map[string][]bench.Result{
			up:        {moved(1e9), moved(9e9), moved(2e9)},
			roundTrip: {answered(40 * time.Microsecond)},
		}},
		{Name: "attach-host", Metrics: map[string][]bench.Result{
			up:        {moved(6e9), moved(1e9), moved(100e9)},
			roundTrip: {answered(20 * time.Microsecond)},
		}},
		{Name: "broken", Error: "it <b>broke</b>"},
	}}
	r.summarize()
	return r
}

func TestSummary(t *testing.T) {
	r := testReport()
	up := throughput(bench.Up, Blocks[0])
	want := Summary{Unit: "Gb/s", Median: 48, Low: 8, High: 800, ToUnix: 3, CPUPerGB: 1. / 6}
	if diff := cmp.Diff(want, r.entry("attach-host").Summary[up]); diff != "" {
		t.Error(diff)
	}
	verdicts := map[string]Verdict{}
	for _, v := range r.Targets {
		verdicts[v.Who+"/"+v.Against+"/"+v.Metric] = v
	}
	for name, want := range map[string]string{
		"attach-host/unix/" + up:                       "reached",
		"attach-host/unix/" + roundTrip:                "not reached", // a half, and it should be a fifth
		"attach-host/unix/" + connects(1):              "not measured",
		"attach-host/limit/" + up:                      "not measured",
		"attach-attach/unix/" + up:                     "not measured",
		"attach-host/" + OtherDevice + "/" + roundTrip: "not measured",
	} {
		v, ok := verdicts[name]
		if !ok || v.word() != want {
			t.Errorf("%s: %q (%v), want %q", name, v.word(), ok, want)
		}
	}
}

func TestReportIsStored(t *testing.T) {
	r := testReport()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseReport(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{
		"no JSON":         "{",
		"another version": `{"version": 99}`,
		"a null":          `{"version": 1, "transports": [null]}`,
		"no latency":      `{"version": 1, "transports": [{"name": "x", "rounds": {"round-trip": [{"ops": 1}]}}]}`,
	} {
		if _, err := ParseReport([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestPictureIsXML(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(string(testReport().SVG())))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestRewrite(t *testing.T) {
	doc := "# Mine\n<!-- bench:machine -->old<!-- /bench:machine -->\nkept\n<!-- bench:results -->\n<!-- /bench:results -->" +
		"<!-- bench:cpu -->\n<!-- /bench:cpu --><!-- bench:targets -->\n<!-- /bench:targets -->end"
	once, err := testReport().Rewrite([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"# Mine\n", "\nkept\n", "-->end", "48.0 (3.00x)", "`broken` is out"} {
		if !strings.Contains(string(once), s) {
			t.Errorf("there is no %q in\n%s", s, once)
		}
	}
	if strings.Contains(string(once), "old") {
		t.Error("the old text is still there")
	}
	twice, err := testReport().Rewrite(once)
	if err != nil || string(twice) != string(once) {
		t.Errorf("%v: another time gives another text", err)
	}
	if _, err := testReport().Rewrite([]byte("# Mine")); err == nil {
		t.Error("a document without markers is taken")
	}
}

func TestParseDevice(t *testing.T) {
	d, err := ParseDevice("name=/a/b=c,uds=/d,e")
	if want := (Device{"name", "/a/b=c", "/d,e"}); err != nil || d != want {
		t.Errorf("%+v, %v; want %+v", d, err, want)
	}
	for _, s := range []string{"", "name", "name=socket", "=socket,uds=path", "name=,uds=path", "name=socket,uds="} {
		if _, err := ParseDevice(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestScaleReport(t *testing.T) {
	r := &ScaleReport{Version: reportVersion, Idle: IdleCost{Contexts: 1, Conns: 2, CPUShare: 0.004, BytesPerConn: 5000}}
	for _, p := range []struct {
		kind, over     string
		conns, stalled int
		v              float64
	}{
		{"up", "", 1, 0, 10}, {"up", "", 1000, 0, 9}, {"up", "", 999, 1, 1},
		{"up", overUnix, 1, 0, 5}, {"up", overUnix, 1000, 0, 3},
		{"up", limitName, 1, 0, 20}, {"up", limitName, 1000, 0, 12},
		{"connect", "", 10, 0, 100}, {"connect", "", 10000, 0, 50},
	} {
		r.add(Point{Kind: p.kind, Over: p.over, Conns: p.conns, Stalled: p.stalled}, p.v)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = ParseScale(text); err != nil {
		t.Fatal(err)
	}
	type result struct {
		value   float64
		reached bool // true as well where there is no target
	}
	var got []result
	for _, target := range r.Targets {
		got = append(got, result{target.Value, target.Reached})
	}
	want := []result{
		{0.004, true}, // CPU
		{5000, false}, // memory
		{0.9, true},   // together
		{0.6, true},   // over Unix sockets
		{3, true},     // against those
		{0.6, true},   // a bare ring
		{0.75, true},  // against that
		{1. / 9, false},
		{0.5, false}, // in a crowd
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("%s\n%s", diff, r.Table())
	}
}
