package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/switchd"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func topContext(cid uint32, kind string, conns int, sent, received uint64) switchd.Context {
	return switchd.Context{State: switchd.StateConnected, Info: vswitch.Info{
		CID: cid, Kind: kind, Connections: conns, PID: 9,
		Sent: vswitch.Traffic{Bytes: sent}, Received: vswitch.Traffic{Bytes: received},
	}}
}

func TestTopTable(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	last := topLook{Time: at, Contexts: []switchd.Context{topContext(3, "guest", 1, 100, 0), topContext(4, "guest", 0, 1<<20, 0)}}
	now := topLook{
		Time: at.Add(2 * time.Second),
		Contexts: []switchd.Context{
			{State: switchd.StateLocal, Info: vswitch.Info{CID: 2, Kind: "host"}},
			topContext(3, "guest", 1, 100+4<<20, 3000), topContext(4, "guest", 5, 7, 0), topContext(5, "attached", 0, 50, 50),
		},
		Connections: []vswitch.Connection{{From: vsock.Addr{CID: 3, Port: 1025}, To: vsock.Addr{CID: 2, Port: 80}, HalfOpen: true}},
	}
	const want = `03:04:07  4 contexts, 1 connections

CID  KIND      STATE      CONNS  SENT/s  RECEIVED/s  BUFFERED  DENIED  LIMITED  PID
4    guest     connected  5      -       -           0         0       0        9
3    guest     connected  1      2.0M    1.5K        0         0       0        9
2    host      local      0      -       -           0         0       0        -
5    attached  connected  0      -       -           0         0       0        9

FROM    TO    STATE
3:1025  2:80  half-open
`
	var out bytes.Buffer
	if err := (&topCommand{Sort: "conns"}).show(&out, last, now, 0, 0); err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, &out)
	}
	out.Reset()
	_ = (&topCommand{Sort: "cid"}).show(&out, last, now, 5, 20)
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 5 || lines[3] != "2    host      local\x1b[K" || lines[4] != ansiClear {
		t.Errorf("%q", lines)
	}
}

func TestAmount(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1.0K", 1023: "1.0K", 1024: "1.0K", 102400: "100K", 1 << 20: "1.0M", 5 << 30: "5.0G", 1 << 50: "1024T"} {
		if got := amount(n); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}

// pty gives both ends of a terminal.
func pty(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip(err)
	}
	if far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	if err := unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 60}); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// TestTop has the command look at a switch, on a terminal and elsewhere.
func TestTop(t *testing.T) {
	p := startSwitch(t, switchFolder(t), switchFlags()...)
	process := openContext(t, p.path("attach"))
	c, err := vsock.Dial(t.Context(), process, vsock.Addr{CID: vsock.CIDHost, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := p.tool("top", "--count", "1", "--interval", "1ms"); !strings.Contains(got, "1000:") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	var look topLook
	if err := json.Unmarshal([]byte(p.tool("top", "--json")), &look); err != nil || len(look.Connections) != 1 || look.Connections[0].To.Port != 8080 {
		t.Errorf("%+v, %v", look, err)
	}

	near, far := pty(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "top", "--interval", "10ms", "--control", p.path("control"))
	cmd.Env = append(os.Environ(), toolVar+"=1", "TERM=xterm")
	cmd.Stdout = far
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(switchLimit, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	var seen bytes.Buffer
	for b := make([]byte, 4096); bytes.Count(seen.Bytes(), []byte(ansiHome)) < 3; {
		n, err := near.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(b[:n])
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(seen.String(), "CID   KIND") || !strings.Contains(seen.String(), ansiClear) {
		t.Errorf("%q", &seen)
	}
	_ = c.Close()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
