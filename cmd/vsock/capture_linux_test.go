package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/capture"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
)

// awaitLine reads what a process writes until a word comes.
func (p *toolProcess) awaitLine(t *testing.T, read *bytes.Buffer, word string) {
	t.Helper()
	b := make([]byte, 4096)
	for !strings.Contains(read.String(), word) {
		n, err := p.out.Read(b)
		read.Write(b[:n])
		if err != nil {
			t.Fatalf("%v, after %q", err, read)
		}
	}
}

// TestCaptureCommand has two captures of one connection, which tshark reads too.
func TestCaptureCommand(t *testing.T) {
	dir := switchFolder(t)
	p := startSwitch(t, dir, switchFlags()...)
	file := filepath.Join(dir, "trace")
	control := []string{"--control", p.path("control")}
	shown := startTool(t, append([]string{"capture", "--filter", "src port 8080 or dst port 8080"}, control...)...)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	written := startTool(t, append([]string{"capture", "-w", "-", "-c", "20"}, control...)...)
	// The head of the file says that the capture has begun; the other's beginning
	// shows in what it captures.
	head := make([]byte, 40) // of a section
	if _, err := io.ReadFull(written.out, head); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(head); err != nil {
		t.Fatal(err)
	}

	process := openContext(t, p.path("attach"))
	dial := func() net.Conn {
		c, err := vsock.Dial(t.Context(), process, vsock.Addr{CID: vsock.CIDHost, Port: 8080})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var lines bytes.Buffer
	there := make(chan struct{})
	go func() {
		defer close(there)
		// It may have begun in the midst of a connection.
		shown.awaitLine(t, &lines, " > 2:8080 stream RW len=8 ")
		shown.awaitLine(t, &lines, "RST")
	}()
	seen := there
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, written.out) // which ends by itself
		copied <- err
	}()
	for done := 0; done < 2; { // until both have captured enough
		c := dial()
		askEcho(t, c)
		_ = c.Close()
		select {
		case <-seen:
			seen = nil
			done++
		case err := <-copied:
			if err != nil {
				t.Fatal(err)
			}
			done++
		default:
		}
	}
	if err := shown.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, shown.out)
	shown.ends(t, exitOK, "")
	written.ends(t, exitOK, "")
	for _, want := range []string{"1000:", " > 2:8080 stream RW len=8 ", "stream SHUTDOWN [receive,send]"} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("no %q in:\n%s", want, &lines)
		}
	}

	// What is in the file, read by ourselves.
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var want []string
	for r := capture.NewReader(f); ; {
		p, err := r.Next()
		if err != nil {
			break
		}
		want = append(want, tsharkLine(&p))
	}
	if len(want) != 20 {
		t.Fatalf("%d packets", len(want))
	}
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"capture", "-r", file, "--filter", "op request", "--count", "1", "--json"}, &stdout, &stderr); status != exitOK {
		t.Fatalf("%s", &stderr)
	}
	var one jsonPacket
	if err := json.Unmarshal(stdout.Bytes(), &one); err != nil || one.DstPort != 8080 || one.Op != "REQUEST" {
		t.Errorf("%s: %v", &stdout, err)
	}
	tsharkSees(t, file, want)

	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// tsharkLine is what tshark is to see in a packet.
func tsharkLine(p *capture.Packet) string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d", p.SrcCID, p.SrcPort, p.DstCID, p.DstPort, p.Op, p.Len)
}

// tsharkSees holds tshark's view of a file against ours.
func tsharkSees(t *testing.T, file string, want []string) {
	t.Helper()
	tshark := testguest.RequireProgram(t, "", "tshark")
	cmd := exec.CommandContext(t.Context(), tshark, "-r", file, "-T", "fields",
		"-e", "vsock.src_cid", "-e", "vsock.src_port", "-e", "vsock.dst_cid", "-e", "vsock.dst_port",
		"-e", "vsock.virtio.op", "-e", "vsock.virtio.len")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	t.Logf("tshark took %v", time.Since(start))
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(want) {
		t.Fatalf("tshark sees %d packets, and there are %d:\n%s", len(got), len(want), out)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("packet %d: tshark sees %q, want %q", i, got[i], want[i])
		}
	}
}

func TestCaptureErrors(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--filter", "host 3"}, exitUsage, "use cid, port"},
		{[]string{"--snaplen=-1"}, exitUsage, "negative"},
		{[]string{"-r", "x", "-w", "y"}, exitUsage, "leave one"},
		{[]string{"-r", filepath.Join(dir, "none")}, exitFailed, "no such file"},
		{[]string{"--control", filepath.Join(dir, "none")}, exitUnreachable, "start one with vsock switch"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"capture"}, tc.args...), &stdout, &stderr); status != tc.status || !strings.Contains(stderr.String(), tc.want) {
			t.Errorf("%v: status %d: %s", tc.args, status, &stderr)
		}
	}
}
