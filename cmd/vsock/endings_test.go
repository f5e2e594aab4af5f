package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// everyCommand calls f with the words of each command that does something.
func everyCommand(t *testing.T, f func(t *testing.T, words []string)) {
	t.Helper()
	parser, err := kong.New(new(commands), kong.Name("vsock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(true) {
		words := strings.Fields(leaf.Path())
		t.Run(strings.Join(words, " "), func(t *testing.T) { f(t, words) })
	}
}

// TestEveryCommandHelps wants examples and exit statuses of each, without colours, and
// help that cannot be written to be told of.
func TestEveryCommandHelps(t *testing.T) {
	everyCommand(t, func(t *testing.T, words []string) {
		args := append(words[:len(words):len(words)], "--help")
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, &stdout, &stderr); status != exitOK || stderr.Len() > 0 {
			t.Errorf("status %d: %s", status, &stderr)
		}
		for _, want := range []string{"Examples:", "Exit status:"} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("no %q in:\n%s", want, &stdout)
			}
		}
		if strings.Contains(stdout.String(), "\x1b") {
			t.Errorf("colours: %q", &stdout)
		}
		if status := run(t.Context(), args, fullOutput{}, &stderr); status != exitCut {
			t.Errorf("without room: status %d, want %d", status, exitCut)
		}
		oneLine(t, &stderr, "writing the output: no room")
	})
}

// TestEveryCommandRefuses gives each a flag that it lacks.
func TestEveryCommandRefuses(t *testing.T) {
	everyCommand(t, func(t *testing.T, words []string) {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append(words[:len(words):len(words)], "--bogus"), &stdout, &stderr)
		if status != exitUsage || stdout.Len() > 0 {
			t.Errorf("status %d, want %d: %q", status, exitUsage, &stdout)
		}
		oneLine(t, &stderr, "unknown flag --bogus; vsock "+strings.Join(words, " ")+" --help shows")
	})
}

// fullOutput takes nothing.
type fullOutput struct{}

var errNoRoom = errors.New("no room")

// Write fails.
func (fullOutput) Write([]byte) (int, error) { return 0, errNoRoom }

// oneLine wants an error to be a line that says something.
func oneLine(t *testing.T, stderr *bytes.Buffer, want string) {
	t.Helper()
	if s := stderr.String(); strings.Count(s, "\n") != 1 || !strings.HasPrefix(s, "vsock: ") || !strings.Contains(s, want) {
		t.Errorf("standard error is %q, want a line with %q", s, want)
	}
}
