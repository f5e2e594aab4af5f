package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

// endingSwitch is a switch that is a process, so that it can be killed.
func endingSwitch(t *testing.T) *switchProcess {
	t.Helper()
	return startSwitch(t, t.TempDir(), "--attach", "$/a,cids=20-60", "--control", "$/control")
}

// TestSwitchGoes has the switch be killed under commands that wait for something.
func TestSwitchGoes(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ args, ready string }{
		{"listen -v any:9", "listening on"},
		{"listen -v -k any:9", "listening on"},
		{"listen -v --type dgram any:9", "listening on"},
		{"cp --serve $", "serving"},
		{"ping -c 0 -i 10ms host:9", "refused"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			sw := endingSwitch(t)
			ctx, cancel := context.WithTimeout(t.Context(), switchLimit)
			defer cancel()
			args := append(strings.Fields(strings.ReplaceAll(tc.args, "$", t.TempDir())), "--stack", "switch:"+sw.path("a"))
			cmd := exec.CommandContext(ctx, self, args...)
			cmd.Env = append(os.Environ(), toolVar+"=1")
			var said lockedBuffer
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has begun", func() bool { return strings.Contains(said.String(), tc.ready) })
			_ = sw.end(syscall.SIGKILL)
			_ = cmd.Wait()
			lines := strings.Split(strings.TrimSpace(said.String()), "\n")
			last := lines[len(lines)-1]
			if got := cmd.ProcessState.ExitCode(); got != exitCut || last != "vsock: switch:"+sw.path("a")+" has gone; start the switch again, and then this" {
				t.Errorf("status %d, want %d: %q", got, exitCut, &said)
			}
		})
	}
}

// TestOutputFull has the output of each command that shows something have no room.
func TestOutputFull(t *testing.T) {
	sw := endingSwitch(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"info", "info --json", "doctor", "doctor --json", "ps", "ps --json", "top -n 1 -d 10ms", "top --json", "ping -c 1 host:9",
		"completion bash", "completion zsh", "completion fish", "demo --in-process --size 1", "bench render ../../docs/performance.json",
		"guest add cid=5,socket=$/5 --json",
	} {
		t.Run(args, func(t *testing.T) {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer full.Close()
			cmd := exec.CommandContext(t.Context(), self, strings.Fields(strings.ReplaceAll(args, "$", sw.dir))...)
			cmd.Env = append(os.Environ(), toolVar+"=1", "VSOCK_STACK=switch:"+sw.path("a"), "VSOCK_CONTROL="+sw.path("control"))
			cmd.Stdout = full
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Run(); err == nil {
				t.Error("it succeeds")
			}
			want := exitCut
			switch words := strings.Fields(args); {
			case words[0] == "ping":
				want = exitUnreachable // nobody answers, which says more
			case words[0] == "doctor" && cmd.ProcessState.ExitCode() == exitFailed:
				want = exitFailed // so does what it finds
			}
			if got := cmd.ProcessState.ExitCode(); got != want || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("status %d, want %d: %q", got, want, &stderr)
			}
		})
	}
}

// TestNoSwitch wants one status of all commands that ask a switch where there is none.
func TestNoSwitch(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, args := range []string{"ps", "top", "capture", "guest rm 5", "guest set 5 --cid 6", "guest add cid=5,socket=/x"} {
		p := startTool(t, append(strings.Fields(args), "--control", none)...)
		p.ends(t, exitUnreachable, "start one with vsock switch --control")
	}
	for _, args := range []string{"connect host:1", "listen any:1", "ping host:1", "ssh-proxy 2", "bench run 2:1", "forward stdio=vsock:2:1"} {
		p := startTool(t, append(strings.Fields(args), "--stack", "switch:"+none)...)
		p.ends(t, exitUnreachable, "no such file or directory")
	}
}

// TestReadInterrupted has a signal come while a capture waits for its input.
func TestReadInterrupted(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := startTool(t, "capture", "-r", "-")
		// The beginning of a file, which is taken in once it reads.
		if _, err := p.in.Write([]byte{0x0a, 0x0d, 0x0d, 0x0a}); err != nil {
			t.Fatal(err)
		}
		readsPipe(t, p)
		if err := p.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		p.ends(t, exitInterrupted, "interrupted")
	}
}

// readsPipe waits until a process has taken what is in its standard input.
func readsPipe(t *testing.T, p *toolProcess) {
	t.Helper()
	f, ok := p.in.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		t.Fatal("standard input is no pipe")
	}
	c, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the input is read", func() (empty bool) {
		err := c.Control(func(fd uintptr) {
			n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			empty = err == nil && n == 0
		})
		if err != nil {
			t.Fatal(err)
		}
		return empty
	})
}

// TestSecondSignal has forward wait for a connection that does not end, until it is told
// again.
func TestSecondSignal(t *testing.T) {
	p := startTool(t, "forward", "stdio=exec:cat", "--drain", "1h")
	if _, err := p.in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = p.Wait()
	}()
	eventually(t, "it ends", func() bool {
		_ = p.Process.Signal(os.Interrupt)
		select {
		case <-over:
			return true
		default:
			return false
		}
	})
	if s, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", p.ProcessState)
	}
}

// TestForwardSwitchReturns has the switch that forwards dial by be killed and come back.
func TestForwardSwitchReturns(t *testing.T) {
	dir := t.TempDir()
	sw := startSwitch(t, dir, "--attach", "$/a,cids=20-60")
	stack := &sharedStack{flag: &stackFlag{Stack: "switch:" + sw.path("a")}}
	defer stack.close()
	first, err := stack.get(forward.Vsock)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := stack.get(forward.Vsock); err != nil || again != first {
		t.Errorf("it is opened twice: %v", err)
	}
	_ = sw.end(syscall.SIGKILL)
	eventually(t, "the stack knows", func() bool { return hasEnded(stack.opened) })
	startSwitch(t, dir, "--attach", "$/a,cids=20-60")
	back, err := stack.get(forward.Vsock)
	if err != nil {
		t.Fatal(err)
	}
	s, err := back.Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}
