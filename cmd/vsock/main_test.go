package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name           string
		args           []string
		status         int
		stdout, stderr string
	}{
		{"demonstration", []string{"demo", "--in-process", "--size", "1"}, exitOK, "All 10 steps held.", ""},
		{"help", []string{"--help"}, exitOK, "demo", ""},
		{"no command", nil, exitUsage, "", "vsock --help"},
		{"unknown command", []string{"dmeo"}, exitUsage, "", "dmeo"},
		{"unknown flag", []string{"demo", "--bogus"}, exitUsage, "", "--bogus"},
		{"size of nothing", []string{"demo", "--in-process", "--size", "0"}, exitUsage, "", "--size is 0 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if status := run(t.Context(), tc.args, &stdout, &stderr); status != tc.status {
				t.Errorf("exit status %d, want %d", status, tc.status)
			}
			for _, s := range []struct{ name, got, want string }{
				{"standard output", stdout.String(), tc.stdout},
				{"standard error", stderr.String(), tc.stderr},
			} {
				if !strings.Contains(s.got, s.want) || s.want == "" && s.got != "" {
					t.Errorf("%s is %q, want %q", s.name, s.got, s.want)
				}
			}
		})
	}
}

// TestDemoFails has steps fail, and so the whole.
func TestDemoFails(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0)) // it has no time left
	defer cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"demo", "--in-process", "--size", "1"}, &stdout, &stderr)
	if status != exitFailed || !strings.Contains(stderr.String(), "the demonstration failed") {
		t.Errorf("exit status %d, %q", status, &stderr)
	}
	if !strings.Contains(stdout.String(), "FAILED") {
		t.Errorf("no step failed:\n%s", &stdout)
	}
}
