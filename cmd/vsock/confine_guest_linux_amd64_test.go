package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsockets.dev/internal/switchd"
	"vsockets.dev/internal/testguest"
)

// TestConfinedInGuests runs the switch on kernels whose landlock is known, and has
// processes talk by it. There is no shell: the tool is all that these guests have.
func TestConfinedInGuests(t *testing.T) {
	for _, tc := range []struct {
		machine testguest.Machine
		abi     int
	}{{testguest.QEMU61, 2}, {testguest.QEMU612, 6}} {
		t.Run(tc.machine.String(), func(t *testing.T) {
			tc.machine.Require(t)
			b := bootConfined(t, tc.machine)
			k := b.startSwitch()
			if k.Landlock != tc.abi || k.TCPClosed != (tc.abi >= 4) || !k.NoNewPrivs || len(k.Capabilities) != 2 {
				t.Errorf("%+v", k)
			}
			if out, exit := b.run("ping", "--stack", "switch:"+b.path("attach"), "-c", "3", "-i", "1ms", "1000:1024"); exit != exitOK || !strings.Contains(out, "3 answered") {
				t.Errorf("exit status %d: %s", exit, out)
			}
			if out, exit := b.run("guest", "add", "--control", b.path("control"), "cid=5,socket="+b.path("5")); exit != exitOK {
				t.Errorf("exit status %d: %s", exit, out)
			}
			if out, exit := b.run("guest", "add", "--control", b.path("control"), "cid=6,socket=/dev/6"); exit != exitFailed || !strings.Contains(out, "confined to "+b.dir) {
				t.Errorf("exit status %d: %s", exit, out)
			}
		})
	}
}

// confinedGuest is a guest that has the tool, and a folder for its switch.
type confinedGuest struct {
	t         *testing.T
	guest     *testguest.Guest
	tool, dir string
}

func (b *confinedGuest) path(name string) string { return filepath.Join(b.dir, name) }

func bootConfined(t *testing.T, m testguest.Machine) *confinedGuest {
	t.Helper()
	b := &confinedGuest{t: t, dir: t.TempDir()}
	var err error
	if b.tool, err = testguest.Build(t.Context(), b.dir, "vsockets.dev/cmd/vsock"); err != nil {
		t.Fatal(err)
	}
	file := b.path("switch.toml")
	if err := os.WriteFile(file, []byte("[[attach]]\nsocket = '"+b.path("attach")+"'\ngroups = ['a']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Not the test's context: that ends before the guest is powered off.
	b.guest, err = testguest.Boot(context.Background(), testguest.Config{
		Machine: m, Init: b.tool, Files: []string{b.tool, file}, TimeLimit: toolGuestLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.guest.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// run runs the tool in the guest, and gives all that it writes.
func (b *confinedGuest) run(args ...string) (out string, exit int) {
	b.t.Helper()
	var all lockedBuffer
	exit, err := b.guest.Run(b.t.Context(), testguest.Command{Path: b.tool, Args: args, Stdout: &all, Stderr: &all})
	if err != nil {
		b.t.Fatal(err)
	}
	return all.String(), exit
}

// keep runs the tool in the guest until the test ends, and waits for a line of it.
func (b *confinedGuest) keep(line string, args ...string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all lockedBuffer
	said, ended := make(chan struct{}), make(chan struct{})
	w := writerFunc(func(p []byte) (int, error) {
		was := strings.Contains(all.String(), line)
		n, err := all.Write(p)
		if !was && strings.Contains(all.String(), line) {
			close(said)
		}
		return n, err
	})
	go func() {
		defer close(ended)
		_, _ = b.guest.Run(ctx, testguest.Command{Path: b.tool, Args: args, Stdout: w, Stderr: w})
	}()
	b.t.Cleanup(func() { cancel(); <-ended })
	select {
	case <-said:
	case <-ended:
		b.t.Fatalf("vsock %s: %s", args, all.String())
	case <-time.After(toolGuestLimit / 4):
		b.t.Fatalf("vsock %s does not say %q: %s", args, line, all.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// startSwitch starts the switch, and a process that listens.
func (b *confinedGuest) startSwitch() switchd.Confinement {
	b.t.Helper()
	b.keep("vsock switch: ready: ", "switch", "--config", b.path("switch.toml"), "--control", b.path("control"))
	b.keep("1024", "listen", "-v", "-k", "--stack", "switch:"+b.path("attach"), "any:1024")
	out, exit := b.run("ps", "--json", "--control", b.path("control"))
	var all []switchd.Context
	if err := json.NewDecoder(bytes.NewBufferString(out)).Decode(&all); exit != exitOK || err != nil || all[0].Confinement == nil {
		b.t.Fatalf("exit status %d, %v: %s", exit, err, out)
	}
	return *all[0].Confinement
}
