package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsockets.dev/vsock"
)

// TestPeerResets has each command that holds a connection lose it in the middle: what the
// peer sent before that is in the output, and the status and one line tell of the rest.
// In the arguments, $ stands for a folder with a file in it.
func TestPeerResets(t *testing.T) {
	for _, tc := range []struct {
		args   string
		input  string // of the command; it stays open
		heard  int    // how many bytes the peer takes before it resets
		says   string // the peer, before that
		shows  string // the output
		status int
		stderr string
	}{
		{args: "connect host:1024", says: "half", shows: "half", status: exitCut, stderr: "connection reset by peer"},
		{args: "connect host:1024", input: "half", heard: 4, status: exitCut, stderr: "4 bytes sent and 0 received"},
		{args: "connect --type seqpacket host:1024", says: "half", shows: "half", status: exitCut, stderr: "connection reset by peer"},
		{args: "ssh-proxy 2 1024", says: "half", shows: "half", status: exitCut, stderr: "connection reset by peer"},
		{args: "forward stdio=vsock:2:1024", says: "half", shows: "half", status: exitCut, stderr: "connection reset by peer"},
		{args: "cp $/file 2:1024:/there", heard: 1, status: exitCut, stderr: "connection reset by peer"},
		{args: "cp 2:1024:/there $/here", heard: 1, status: exitCut, stderr: "connection reset by peer"},
		{args: "bench run host:1024 --time 1s", heard: 1, status: exitCut, stderr: "connection reset by peer"},
		{args: "listen any:1024", says: "half", shows: "half", status: exitCut, stderr: "connection reset by peer"},
		{args: "listen --type seqpacket any:1024", says: "half", shows: "half", status: exitCut, stderr: "connection reset by peer"},
		{args: "listen any:1024 --exec cat", says: "half", heard: 4, status: exitCut, stderr: "connection reset by peer"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			sw, near, far := scriptBed(t)
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append(strings.Fields(strings.ReplaceAll(tc.args, "$", dir)), "--stack", near)
			typ := vsock.Stream
			if strings.Contains(tc.args, "seqpacket") {
				typ = vsock.Seqpacket
			}
			var p *toolProcess
			var c *vsock.Conn
			if args[0] == "listen" {
				p = startTool(t, args...)
				c = dialTool(t, openContext(t, strings.TrimPrefix(far, "switch:")), typ)
			} else {
				l := resetListener(t, sw.Host(), typ)
				p = startTool(t, args...)
				var err error
				if c, err = l.AcceptConn(); err != nil {
					t.Fatal(err)
				}
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(switchLimit))
			if _, err := io.WriteString(p.in, tc.input); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, tc.says); err != nil {
				t.Fatal(err)
			}
			// What has come through both ways is not what the reset throws away.
			shown := make([]byte, len(tc.shows))
			if _, err := io.ReadFull(p.out, shown); err != nil || string(shown) != tc.shows {
				t.Errorf("it shows %q, %v", shown, err)
			}
			if _, err := io.ReadFull(c, make([]byte, tc.heard)); err != nil {
				t.Error(err)
			}
			_ = c.SetLinger(0)
			_ = c.Close()
			rest, _ := io.ReadAll(p.out)
			if len(rest) > 0 {
				t.Errorf("it shows also %q", rest)
			}
			p.ends(t, tc.status, tc.stderr)
		})
	}
}

// resetListener listens in the host's context, where the command connects to.
func resetListener(t *testing.T, s vsock.Stack, typ vsock.Type) *vsock.Listener {
	t.Helper()
	lc := vsock.ListenConfig{Stack: s, Type: typ}
	l, err := lc.Listen(t.Context(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.SetDeadline(time.Now().Add(switchLimit)); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestPeerResetsServer has one client of each command that serves many go in the middle:
// the next one is served, and the end is an orderly one.
func TestPeerResetsServer(t *testing.T) {
	for _, args := range []string{
		"listen -k any:1024 --exec cat",
		"forward vsock:any:1024=exec:cat",
		"cp --serve $ --port 1024 -q",
		"bench serve any:1024",
	} {
		t.Run(args, func(t *testing.T) {
			_, near, far := scriptBed(t)
			p := startTool(t, append(strings.Fields(strings.ReplaceAll(args, "$", t.TempDir())), "--stack", near)...)
			s := openContext(t, strings.TrimPrefix(far, "switch:"))
			for range 3 {
				c := dialTool(t, s, vsock.Stream)
				if _, err := io.WriteString(c, "half"); err != nil {
					t.Fatal(err)
				}
				_ = c.SetLinger(0)
				_ = c.Close()
			}
			c := dialTool(t, s, vsock.Stream)
			defer c.Close()
			if strings.HasSuffix(args, "cat") {
				askEcho(t, c)
			}
			_ = c.Close()
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_ = p.Wait()
			if got := p.ProcessState.ExitCode(); got != exitOK {
				t.Errorf("status %d: %s", got, &p.stderr)
			}
		})
	}
}
