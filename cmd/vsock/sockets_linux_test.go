package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lookAgain is how often a test looks at what it cannot be told of.
const lookAgain = 5 * time.Millisecond

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for deadline := time.Now().Add(switchLimit); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("after %v, still not: %s", switchLimit, what)
		}
	}
}

// socketKinds are the tool's ways to make a Unix socket. In the arguments, @ stands for
// the folder that it is made in, and $ for another.
var socketKinds = []struct {
	name string
	args string
	file string
	mode os.FileMode
}{
	{"control", "switch --control @/s", "s", 0o600},
	{"guest", "switch --guest cid=3,socket=@/s", "s", 0o600},
	{"guest's hybrid", "switch --guest cid=3,socket=$/s,hybrid=@/s", "s", 0o600},
	{"attach", "switch --attach @/s", "s", 0o600},
	{"attach with users", "switch --attach @/s,users=0", "s", 0o666}, // who connects is asked who it is
	{"switch's forward", "switch --forward unix:@/s=host:1", "s", 0o600},
	{"forward", "forward unix:@/s=tcp:127.0.0.1:1", "s", 0o600},
	{"hybrid stack", "listen --stack hybrid:@/s any:52", "s_52", 0o600},
	{"bench server", "bench serve unix:@/s", "s", 0o600},
}

// toolIn is a command of socketKinds as a process of its own.
func toolIn(t *testing.T, args, folder string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args = strings.ReplaceAll(strings.ReplaceAll(args, "@", folder), "$", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), switchLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, strings.Fields(args)...)
	cmd.Env = append(os.Environ(), toolVar+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// TestSocketModes looks at the permissions of each socket, which an umask does not widen.
func TestSocketModes(t *testing.T) {
	for _, k := range socketKinds {
		t.Run(k.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd, stderr := toolIn(t, k.args, dir)
			old := syscall.Umask(0) // which the process has from us
			err := cmd.Start()
			syscall.Umask(old)
			if err != nil {
				t.Fatal(err)
			}
			var info os.FileInfo
			eventually(t, "the socket is there: "+k.args, func() (ok bool) {
				var err error
				info, err = os.Lstat(filepath.Join(dir, k.file))
				return err == nil && (k.mode == 0o600 || info.Mode().Perm() == k.mode)
			})
			if info.Mode() != os.ModeSocket|k.mode {
				t.Errorf("mode %v, want %v", info.Mode(), k.mode)
			}
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			if _, err := os.Lstat(filepath.Join(dir, k.file)); err == nil {
				t.Errorf("the socket stays: %s", stderr)
			}
		})
	}
}

// TestSocketFolders holds every command that makes a socket to refuse a folder that others
// can write, or swap.
func TestSocketFolders(t *testing.T) {
	for _, f := range []struct {
		name string
		mode uint32 // of the folder above
		in   string // below that
		want string
	}{
		{"others write", 0o777, "", "can be written by others"},
		{"the group writes", 0o770, "", "can be written by others"},
		{"sticky", 0o1777, "", "can be written by others"},
		{"below one that others write", 0o777, "private", "on the way to"},
	} {
		for _, k := range socketKinds {
			t.Run(f.name+"/"+k.name, func(t *testing.T) {
				above := filepath.Join(t.TempDir(), "above")
				dir := filepath.Join(above, f.in)
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Chmod(above, f.mode); err != nil { // past the umask
					t.Fatal(err)
				}
				cmd, stderr := toolIn(t, k.args, dir)
				var exit *exec.ExitError
				if err := cmd.Run(); !errors.As(err, &exit) || !exit.Exited() || exit.ExitCode() != exitFailed {
					t.Errorf("it ends with %v", err)
				}
				if !strings.Contains(stderr.String(), f.want) || !strings.Contains(stderr.String(), above) {
					t.Errorf("%q does not contain %q and the folder", stderr, f.want)
				}
				if left, err := os.ReadDir(dir); err != nil || len(left) != 0 && f.in != "" || len(left) > 1 {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		}
	}
}
