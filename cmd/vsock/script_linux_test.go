package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

const (
	// scriptLimit is for all scripts; what still runs then is killed.
	scriptLimit = 4 * time.Minute

	// CIDs of the scripts' processes, by the attach socket that they use.
	scriptA, scriptB = 10, 20

	// scriptEcho is the port of the host's context that sends back what it gets.
	scriptEcho = 7
)

// TestScripts runs the tool as users do. Each script has a switch of its own, whose
// attach sockets $A and $B give the CIDs 10 and from 20 on, and an echo on host:7. $G is
// that of a guest, CID 3, and $H its Unix socket in the way of Firecracker.
func TestScripts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "vsock")); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/script",
		Deadline: time.Now().Add(scriptLimit),
		Setup: func(e *testscript.Env) error {
			e.Setenv(toolVar, "1")
			// A script that names no stack must not get the kernel's, which leads
			// out of this machine.
			e.Setenv("VSOCK_STACK", "switch:"+filepath.Join(e.WorkDir, "nowhere"))
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			return scriptSwitch(t, e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": scriptStatus, "bytes": scriptBytes},
	})
}

func scriptSwitch(t *testing.T, e *testscript.Env) error {
	sw := vswitch.New(vswitch.Config{})
	e.Defer(func() { _ = sw.Close() })
	a, b, err := attachSockets(sw, e.WorkDir)
	if err != nil {
		return err
	}
	e.Setenv("A", a)
	e.Setenv("B", b)
	guest, hybrid := filepath.Join(e.WorkDir, "guest"), filepath.Join(e.WorkDir, "hybrid")
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: 3, Socket: guest, Hybrid: hybrid, Groups: []string{"all"}}); err != nil {
		return err
	}
	e.Setenv("G", "switch:"+guest)
	e.Setenv("H", "hybrid:"+hybrid)
	l, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: scriptEcho})
	if err != nil {
		return err
	}
	echoOn(t, l)
	return nil
}

// attachSockets gives a switch two, as the URIs of stacks: the first is for one
// process.
func attachSockets(sw *vswitch.Switch, dir string) (a, b string, err error) {
	for _, at := range []struct {
		uri         *string
		name        string
		first, last uint32
	}{{&a, "A", scriptA, scriptA}, {&b, "B", scriptB, scriptB + 9}} {
		path := filepath.Join(dir, at.name)
		if _, err := sw.AddAttach(vswitch.AttachConfig{Socket: path, First: at.first, Last: at.last, Groups: []string{"all"}}); err != nil {
			return "", "", err
		}
		*at.uri = "switch:" + path
	}
	return a, b, nil
}

// scriptStatus is "status N COMMAND...": the command ends with that status.
func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var e *exec.ExitError
	if errors.As(err, &e) {
		got = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// scriptBytes is "bytes FILE N": it makes a file of so many bytes, each line of
// which is another.
func scriptBytes(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		ts.Fatalf("%v", err)
	}
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%d\n", i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b[:n], 0o600))
}
