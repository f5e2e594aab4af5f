package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/capture"
)

// TestCaptureDiskFull ends a capture whose file cannot grow, and says so. The switch notices
// nothing of it.
func TestCaptureDiskFull(t *testing.T) {
	b := newFaultBed(t)
	p := startTool(t, "capture", "--control", b.path("control"), "--write", "/dev/full")
	p.ends(t, exitCut, "no space left on device")
	if !strings.Contains(p.stderr.String(), "/dev/full") {
		t.Errorf("which file, is not said: %q", &p.stderr)
	}
	b.unmoved()
}

// fullVar has the test program run a command on a small file system of its own: what the
// system is to have at most, its folder, and the command, where @ is the folder. It tells
// what is left there in the end.
const fullVar = "VSOCKETS_TEST_FULL"

func init() {
	words := strings.Fields(os.Getenv(fullVar))
	if len(words) == 0 {
		return
	}
	most, dir, args := words[0], words[1], words[2:]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,"+most); err != nil {
		fmt.Fprintln(os.Stderr, "mount:", err)
		os.Exit(exitUsage)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "@", dir)
	}
	status := run(context.Background(), args, os.Stdout, os.Stderr)
	left, err := os.ReadDir(dir)
	fmt.Println("left:", left, err)
	if f, err := os.Open(filepath.Join(dir, capturedName)); err == nil {
		n, err := countPackets(f)
		fmt.Println("packets:", n, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
	}
	os.Exit(status)
}

// capturedName is a capture's file on a small file system.
const capturedName = "captured"

// countPackets reads packets until there are no more, or what is there is none.
func countPackets(f io.Reader) (n int, err error) {
	for r := capture.NewReader(f); ; n++ {
		if _, err := r.Next(); err != nil {
			return n, err
		}
	}
}

// onSmallDisk runs a command on a file system of its own, in name spaces of its own: it is to
// say that this is full, and to end with a status.
func onSmallDisk(t *testing.T, most, command string, status int) (stdout string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), switchLimit)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", fullVar, most, dir, command))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this system lets no user make name spaces: %v", err)
	}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
		t.Errorf("it ends with %v, want status %d: %s", err, status, &errs)
	}
	if !strings.Contains(errs.String(), "no space left on device") || !strings.Contains(errs.String(), dir) {
		t.Errorf("it does not tell what is full: %s", &errs)
	}
	return out.String()
}

// TestCaptureDiskFills has a capture's file grow until its disk is full. What was written by
// then can be read.
func TestCaptureDiskFills(t *testing.T) {
	b := newFaultBed(t)
	out := onSmallDisk(t, "size=256k", "capture --control "+b.path("control")+" --snaplen 100 --write @/"+capturedName, exitCut)
	_, told, _ := strings.Cut(out, "packets: ")
	n, toTheEnd := 0, false
	if _, err := fmt.Sscan(told, &n, &toTheEnd); err != nil || n < 100 || !toTheEnd {
		t.Errorf("%d packets, %v: %q", n, err, out)
	}
	b.unmoved()
}

// TestSocketDiskFull starts a switch where there is room for some of its sockets only. It says
// which one cannot be made and why, ends, and leaves none behind.
func TestSocketDiskFull(t *testing.T) {
	for sockets := range 4 {
		t.Run(fmt.Sprint(sockets), func(t *testing.T) {
			// The folder itself is one of the files.
			out := onSmallDisk(t, fmt.Sprintf("nr_inodes=%d", 1+sockets),
				"switch --no-confine --attach @/1 --guest cid=3,socket=@/2,hybrid=@/3 --control @/4", exitFailed)
			if out != "left: [] <nil>\n" {
				t.Errorf("%q", out)
			}
		})
	}
}
