package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// runCommand runs a command line that succeeds, and gives its output.
func runCommand(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), args, &stdout, &stderr); status != exitOK {
		t.Fatalf("%q: exit status %d: %s", args, status, &stderr)
	}
	return stdout.String()
}

// signalled tells when something is written.
type signalled struct {
	first chan struct{}
	done  bool
}

func (s *signalled) Write(b []byte) (int, error) {
	if !s.done {
		s.done = true
		close(s.first)
	}
	return len(b), nil
}

// startServer runs vsock bench serve until the test ends.
func startServer(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &signalled{first: make(chan struct{})}
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append([]string{"bench", "serve"}, args...), out, &stderr) }()
	select {
	case <-out.first:
	case status := <-ended:
		t.Fatalf("exit status %d: %s", status, &stderr)
	}
	t.Cleanup(func() {
		cancel()
		if status := <-ended; status != exitOK {
			t.Errorf("exit status %d: %s", status, &stderr)
		}
	})
}

func TestBenchRun(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	before := openStack
	defer func() { openStack = before }()
	openStack = func(string) (vsock.Stack, error) { return sw.Host(), nil }

	for name, addr := range map[string]string{
		"unix":  "unix:" + filepath.Join(t.TempDir(), "s"),
		"vsock": "2:2000",
	} {
		t.Run(name, func(t *testing.T) {
			startServer(t, addr)
			var results []benchResult
			out := runCommand(t, "bench", "run", addr, "--sizes", "64,4k", "--time", "10ms", "--streams", "2", "--json")
			if err := json.Unmarshal([]byte(out), &results); err != nil {
				t.Fatal(err)
			}
			if len(results) != 6 {
				t.Errorf("%d results, want 2 up, 2 down, round trips and connections", len(results))
			}
			for _, r := range results {
				if r.Result.Elapsed < 10*time.Millisecond || r.Result.Bytes+r.Result.Ops == 0 {
					t.Errorf("%+v", r)
				}
			}
			if out := runCommand(t, "bench", "run", addr, "--sizes", "1k", "--time", "10ms"); !strings.Contains(out, "p99.9") {
				t.Errorf("no latency in\n%s", out)
			}
		})
	}
}

func TestBenchUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"a size of nothing":  {"run", "unix:nowhere", "--sizes", "0"},
		"a size too large":   {"run", "unix:nowhere", "--sizes", "2m"},
		"no streams":         {"run", "unix:nowhere", "--streams", "0"},
		"no server":          {"run", "unix:nowhere"},
		"no address":         {"run", "nonsense"},
		"no stack":           {"run", "2:1", "--stack", "nonsense:"},
		"no connections":     {"serve", "unix:nowhere", "--max-conns", "0"},
		"unknown transport":  {"compare", "--only", "pigeon"},
		"a device in part":   {"compare", "--device", "name=socket"},
		"no rounds":          {"compare", "--rounds", "0"},
		"no report":          {"render", "nowhere.json"},
		"one stream of many": {"scale", "--streams", "1"},
		"no rounds of relay": {"relay", "--rounds", "0"},
		"no rounds of guest": {"guest", "--rounds", "0"},
		"no such guest":      {"guest", "--machine", "vax"},
		"no loopback":        {"guest", "--loopback", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var stdout, stderr bytes.Buffer
			if run(t.Context(), append([]string{"bench"}, args...), &stdout, &stderr) == exitOK || stderr.Len() == 0 {
				t.Errorf("it succeeds: %s", &stdout)
			}
		})
	}
}

// TestBenchRender compares a little, and writes it into the project's own document.
func TestBenchRender(t *testing.T) {
	dir := t.TempDir()
	report, picture, doc := filepath.Join(dir, "r.json"), filepath.Join(dir, "p.svg"), filepath.Join(dir, "P.md")
	out := runCommand(t, "bench", "compare", "--only", "inproc", "--only", "limit", "--rounds", "1", "--time", "5ms", "--json")
	text, err := os.ReadFile("../../docs/PERFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	guest := filepath.Join(dir, "g.json")
	guests := `{"version": 1, "rounds": 1, "guests": [{"machine": "uml", "kernel": "0", "paths": [{"name": "host", "values": {"up-64": [7]}}]}]}`
	for path, b := range map[string][]byte{report: []byte(out), doc: text, guest: []byte(guests)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runCommand(t, "bench", "render", report, "--guest", guest, "--doc", doc, "--svg", picture)
	if table := runCommand(t, "bench", "render", report); !strings.Contains(table, "inproc") {
		t.Errorf("no transport in\n%s", table)
	}
	const row = "| uml | 64 B up, Gb/s | 7.00 |"
	if table := runCommand(t, "bench", "render", report, "--guest", guest); !strings.Contains(table, row) {
		t.Errorf("no guest in\n%s", table)
	}
	if b, err := os.ReadFile(doc); err != nil || !strings.Contains(string(b), "| | inproc | limit |") || !strings.Contains(string(b), row) {
		t.Errorf("%v: no table in\n%s", err, b)
	}
	if b, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(b), "<svg") {
		t.Errorf("%v: no picture in %s", err, b)
	}
}
