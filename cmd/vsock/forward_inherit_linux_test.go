package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestForwardInherits starts forward as systemd does, with sockets that are there.
func TestForwardInherits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "in")
	u, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	var files []*os.File
	for _, l := range []interface{ File() (*os.File, error) }{u.(*net.UnixListener), tcp.(*net.TCPListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// LISTEN_PID is the process's own, which a shell knows before it becomes it.
	start := func(specs ...string) (*exec.Cmd, *bytes.Buffer) {
		args := append([]string{"-c", `LISTEN_PID=$$ exec "$0" forward "$@"`, self}, specs...)
		cmd := exec.CommandContext(t.Context(), "/bin/sh", args...)
		cmd.Env = append(os.Environ(), toolVar+"=1", fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES=a:b")
		cmd.ExtraFiles = files
		stderr := new(bytes.Buffer)
		cmd.Stderr = stderr
		return cmd, stderr
	}
	cmd, stderr := start("unix:"+path+"=exec:cat", "tcp:"+tcp.Addr().String()+"=exec:cat")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []net.Addr{u.Addr(), tcp.Addr()} { // connections wait until it is there
		c, err := net.Dial(a.Network(), a.String())
		if err != nil {
			t.Fatal(err)
		}
		askEcho(t, c)
		_ = c.Close()
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("it removed a socket that it did not make: %v", err)
	}
	cmd, stderr = start("unix:" + path + "=exec:cat")
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "b at 127.0.0.1:") {
		t.Errorf("%v: %s", err, stderr)
	}
}
