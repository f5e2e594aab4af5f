package compare

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unixAPI stands for a library of vsock: the kernel's is for guests alone.
func unixAPI(t *testing.T, name string) API {
	path := filepath.Join(t.TempDir(), "s")
	return API{
		Name: name,
		Listen: func(ctx context.Context) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "unix", path)
		},
		Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) },
	}
}

func TestRunAPIs(t *testing.T) {
	broken := errors.New("it does not dial")
	other := unixAPI(t, OtherAPI)
	other.Dial = func(context.Context) (net.Conn, error) { return nil, broken }
	var out bytes.Buffer
	c := APIConfig{Rounds: 2, Time: 5 * time.Millisecond}
	if err := RunAPIs(t.Context(), c, []API{unixAPI(t, OurAPI), other}, &out); err != nil {
		t.Fatal(err)
	}
	paths, err := parseLoopback(out.Bytes())
	if err != nil || len(paths) != 2 {
		t.Fatalf("%d ways, %v: %s", len(paths), err, &out)
	}
	for _, metric := range guestMetrics {
		if n := len(paths[0].Values[metric]); n != c.Rounds {
			t.Errorf("%s: %d rounds of %s, want %d", paths[0].Name, n, metric, c.Rounds)
		}
	}
	if p := paths[1]; len(p.Values) != 0 || len(p.Failures) == 0 || !strings.Contains(p.Failures[0], broken.Error()) {
		t.Errorf("%s: %v, %q", p.Name, p.Values, p.Failures)
	}
	if RunAPIs(t.Context(), APIConfig{Time: time.Second}, nil, &out) == nil {
		t.Error("no rounds are taken")
	}
}

func TestAPIArgs(t *testing.T) {
	want := APIConfig{Metrics: []string{roundTrip}, Rounds: 20, Time: 100 * time.Millisecond}
	c := GuestConfig{Metrics: want.Metrics, Rounds: 2, Time: time.Second}
	got, err := ParseAPIArgs(c.apiConfig().args())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, args := range [][]string{nil, {"1"}, {"x", "1s"}, {"1", "x"}} {
		if c, err := ParseAPIArgs(args); err == nil {
			t.Errorf("%q is taken: %+v", args, c)
		}
	}
}

func TestParseLoopback(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "", "no list": `{}`, "a null": `[null]`, "another API": `[{"name": "pigeon"}]`,
		"another metric": `[{"name": "` + OurAPI + `", "values": {"up-1": [1]}}]`,
	} {
		if p, err := parseLoopback([]byte(text)); err == nil {
			t.Errorf("%s is taken: %v", name, p)
		}
	}
}

func TestLoopbackSpeed(t *testing.T) {
	for name, c := range map[string]struct {
		ours, theirs []float64
		want         speed
		word         string
	}{
		"nothing": {nil, []float64{1}, speed{}, "not within 3 %"},
		// What both do at once says nothing of either.
		"moods":  {[]float64{1, 10, 1, 10}, []float64{1, 10, 1, 10}, speed{1, 1, 1, 4}, "within 3 %"},
		"slower": {[]float64{9, 9, 9, 9}, []float64{10, 10, 10, 10}, speed{.9, .9, .9, 4}, "not within 3 %"},
		"noise":  {[]float64{8, 9, 9, 12}, []float64{10, 10, 10, 10}, speed{.9, .8, 1.2, 4}, "open: the noise is larger"},
		// 1.96 deviations of a binomial of 100 are 9.8.
		"a hundred": {series(100), slices.Repeat([]float64{100}, 100), speed{.505, .40, .61, 100}, "not within 3 %"},
	} {
		paths := []*GuestPath{
			{Name: OtherAPI, Values: map[string][]float64{connects(1): c.theirs, roundTrip: c.ours}},
			{Name: OurAPI, Values: map[string][]float64{connects(1): c.ours, roundTrip: c.theirs}},
		}
		for _, metric := range []string{connects(1), roundTrip} {
			got := loopbackSpeed(paths, metric)
			near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(speed{}), near); diff != "" {
				t.Errorf("%s, %s: %s", name, metric, diff)
			}
			if got.word() != c.word {
				t.Errorf("%s, %s: %s, want %s", name, metric, got.word(), c.word)
			}
		}
	}
}

// series is 1 to n.
func series(n int) (all []float64) {
	for i := range n {
		all = append(all, float64(i+1))
	}
	return all
}
