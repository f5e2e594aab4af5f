package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestHelp wants each command to show examples, which are of that command.
func TestHelp(t *testing.T) {
	for _, name := range []string{
		"connect", "listen", "forward", "cp", "ssh-proxy", "capture", "top", "ping", "info", "doctor", "completion", "man",
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), []string{name, "--help"}, &stdout, &stderr); status != exitOK || stderr.Len() > 0 {
			t.Errorf("%s: status %d: %s", name, status, &stderr)
		}
		_, examples, ok := strings.Cut(stdout.String(), "Examples:")
		if !ok || !strings.Contains(examples, "vsock "+name) && name != "ssh-proxy" {
			t.Errorf("%s has no examples:\n%s", name, &stdout)
		}
	}
}

// TestWrongFlags wants one status for all wrong command lines.
func TestWrongFlags(t *testing.T) {
	for _, args := range []string{
		"connect", "connect 3", "connect 3:x", "connect --type raw 3:1", "listen", "listen --bogus 3:1", "forward x", "cp",
		"ping", "ping --count x 3:1", "ssh-proxy", "top --sort size", "top --interval=0s", "completion csh", "man /no/such/folder",
		"capture --filter (", "doctor --cid x",
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), strings.Fields(args), &stdout, &stderr); status != exitUsage || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%s: status %d: %s%s", args, status, &stdout, &stderr)
		}
	}
}
