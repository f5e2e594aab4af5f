package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// colours is what sets one on a terminal.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// onPTY runs a command on a terminal, and gives what that is sent.
func onPTY(t *testing.T, env []string, args ...string) string {
	t.Helper()
	near, far := pty(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(append(os.Environ(), toolVar+"=1", "NO_COLOR="), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, far
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = far.Close() // so that the terminal's end is that of the command
	stuck := time.AfterFunc(switchLimit, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	var seen bytes.Buffer
	_, _ = seen.ReadFrom(near) // a terminal without processes is an error of reading
	_ = cmd.Wait()
	if seen.Len() == 0 {
		t.Errorf("%s: nothing is shown", args)
	}
	return seen.String()
}

// TestColours wants them on a terminal, where nobody has asked for none, and nowhere else.
func TestColours(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  []string
		want bool
	}{
		{"a terminal", []string{"TERM=xterm"}, true},
		{"NO_COLOR", []string{"TERM=xterm", "NO_COLOR=1"}, false},
		{"a terminal that has none", []string{"TERM=dumb"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := onPTY(t, tc.env, "doctor"); colours.MatchString(got) != tc.want {
				t.Errorf("%q", got)
			}
			if got := onPTY(t, tc.env, "doctor", "--json"); colours.MatchString(got) {
				t.Errorf("as JSON: %q", got)
			}
		})
	}
	t.Run("no terminal", func(t *testing.T) {
		t.Setenv("TERM", "xterm")
		var stdout, stderr bytes.Buffer
		_ = run(t.Context(), []string{"doctor"}, &stdout, &stderr)
		if stdout.Len() == 0 || strings.Contains(stdout.String(), "\x1b") {
			t.Errorf("%q", &stdout)
		}
	})
}

// TestNoColours runs what shows something on a terminal, for someone who wants no colours.
func TestNoColours(t *testing.T) {
	sw := endingSwitch(t)
	env := []string{"TERM=xterm", "NO_COLOR=1", "VSOCK_STACK=switch:" + sw.path("a"), "VSOCK_CONTROL=" + sw.path("control")}
	for _, args := range []string{
		"--help", "bogus", "doctor", "info", "ps", "top -n 1 -d 10ms", "ping -c 1 host:9", "connect host:9",
		"demo --in-process --size 1", "bench compare --only inproc --rounds 1 --time 5ms", "bench render ../../docs/performance.json",
	} {
		if got := onPTY(t, env, strings.Fields(args)...); colours.MatchString(got) {
			t.Errorf("%s: %q", args, got)
		}
	}
}
