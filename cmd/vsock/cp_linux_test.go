package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCopyProgress has a copy show how far it is, on a terminal.
func TestCopyProgress(t *testing.T) {
	_, near, far := scriptBed(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	server := startTool(t, "cp", "--stack", near, "--serve", dir, "--quiet")
	shown, terminal := pty(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "cp", "--stack", far, "--wait", "10s", file, "10:/copy")
	cmd.Env = append(os.Environ(), toolVar+"=1", "TERM=xterm")
	cmd.Stderr = terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(switchLimit, func() {
		_ = cmd.Process.Kill()
		_ = shown.Close()
	})
	defer stuck.Stop()
	var seen bytes.Buffer
	for b := make([]byte, 4096); !strings.Contains(seen.String(), "3.0 MiB / 3.0 MiB"); {
		n, err := shown.Read(b)
		if err != nil {
			t.Fatalf("%v: %q", err, &seen)
		}
		seen.Write(b[:n])
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	server.ends(t, exitOK, "")
}
