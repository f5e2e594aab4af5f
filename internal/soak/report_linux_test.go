package soak

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/transfer"
)

// samples are of a switch whose memory is as f says, by second.
func samples(n int, f func(i int) int64) (all []Sample) {
	for i := range n {
		all = append(all, Sample{After: float64(i), Anonymous: f(i), LiveHeap: 1 << 20, Rest: i%30 == 0})
	}
	return all
}

func TestJudgeMemory(t *testing.T) {
	for _, tc := range []struct {
		name     string
		samples  []Sample
		problems int
		want     string
	}{
		{"too few", samples(20, func(i int) int64 { return int64(i) << 30 }), 0, "not judged"},
		{"flat", samples(600, func(int) int64 { return 50 << 20 }), 0, "50.0 MiB, then 50.0 MiB"},
		{"warms up", samples(600, func(i int) int64 { return int64(min(i, 140)) << 20 }), 0, "140.0 MiB, then 140.0 MiB"},
		{"goes up and down", samples(600, func(i int) int64 { return int64(20+i%40) << 20 }), 0, "MiB"},
		{"64 KiB a second", samples(600, func(i int) int64 { return int64(i) << 16 }), 1, "MiB"},
	} {
		r := &Report{Samples: tc.samples}
		if r.judgeMemory(); len(r.Problems) != tc.problems || !strings.Contains(r.Memory, tc.want) {
			t.Errorf("%s: %q, %q; want %d problems and %q", tc.name, r.Memory, r.Problems, tc.problems, tc.want)
		}
	}
}

// wire is an outcome as it comes from elsewhere.
func wire(connected bool, err error) guestpeer.Tried {
	return guestpeer.Tried{Connected: connected, Err: guestpeer.ToWire(err)}
}

func TestExplained(t *testing.T) {
	killed, stopped := faultKind{name: "killed", ends: true}, faultKind{name: "stopped"}
	reset := fmt.Errorf("write: %w", syscall.ECONNRESET)
	none, ends, stalls := []faultKind(nil), []faultKind{stopped, killed}, []faultKind{stopped}
	for _, tc := range []struct {
		name     string
		got      guestpeer.Tried
		from, to []faultKind
		want     bool
	}{
		{"a reset without a fault", wire(true, reset), none, none, false},
		{"a reset", wire(true, reset), none, ends, true},
		{"a cut", wire(true, transfer.ErrCut), none, ends, true},
		{"other bytes", wire(true, transfer.ErrCorrupt), ends, ends, false},
		{"no error, which is not what was wanted", wire(true, nil), ends, ends, false},
		{"an error of another kind", wire(true, syscall.EINVAL), none, ends, false},
		{"one's own end", wire(true, net.ErrClosed), ends, none, true},
		{"not one's own end", wire(true, net.ErrClosed), none, ends, false},
		{"a guest's Unix socket", wire(false, syscall.ENOENT), none, ends, true},
		{"a reset by one that was only slow", wire(true, reset), none, stalls, false},
		{"one that was slow to accept", wire(false, syscall.ETIMEDOUT), none, stalls, true},
		{"one that was slow to connect", wire(false, syscall.ETIMEDOUT), stalls, none, true},
		{"one that was slow later", wire(true, syscall.ETIMEDOUT), none, stalls, false},
	} {
		if got := explained(tc.got, tc.from, tc.to); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestWants has each task want what comes of it, and nothing else.
func TestWants(t *testing.T) {
	for _, what := range tasks {
		aborted, refused := what.port == portDrop, what.port == portDeaf
		for _, tc := range []struct {
			got  guestpeer.Tried
			want bool
		}{
			{wire(true, nil), !aborted && !refused},
			{wire(true, syscall.ECONNRESET), aborted},
			{wire(true, transfer.ErrCut), aborted},
			{wire(true, transfer.ErrCorrupt), false},
			{wire(false, syscall.ECONNREFUSED), refused},
			{wire(false, syscall.ETIMEDOUT), false},
		} {
			if got := what.want(tc.got); got != tc.want {
				t.Errorf("%s: connected %v, %v: %v", what.name, tc.got.Connected, tc.got.Error(), got)
			}
		}
	}
}

func TestSVG(t *testing.T) {
	r := &Report{Samples: samples(61, func(i int) int64 { return int64(i) << 20 })}
	var b strings.Builder
	if err := r.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	circles := 0
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.StartElement); ok && s.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 4*3 {
		t.Errorf("%d dots, want 3 in each of 4 panels", circles)
	}
}

// TestText has all that was found be in the report.
func TestText(t *testing.T) {
	r := newReport(Config{Duration: time.Minute, Seed: 7})
	r.Problems = []string{"after 3s: something"}
	r.Faults["guest killed"] = 3
	var b strings.Builder
	if err := errors.Join(r.WriteText(&b), r.WriteJSON(&b)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"seed 7", "3  guest killed", "problems: 1\n  after 3s: something", `"Seed": 7`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}
