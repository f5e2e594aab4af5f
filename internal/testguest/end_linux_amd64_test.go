package testguest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/supervise"
)

// endLimit is how long the end of a guest may take before a test fails.
const endLimit = 10 * time.Second

// process is a host process of a guest.
type process struct {
	pid, session int
	state        string
	cmdline      string
}

// guestProcesses gives the host processes of the guests whose folders are in
// dir. User Mode Linux's children have no command line, but are in its session.
func guestProcesses(t *testing.T, dir string) []process {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all []process
	sessions := make(map[int]bool)
	for _, e := range entries {
		stat, err := os.ReadFile(e + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		// The name, in parentheses, may hold anything; after it: state, parent, group, session.
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		p := process{state: string(f[0])}
		p.pid, _ = strconv.Atoi(filepath.Base(e))
		p.session, _ = strconv.Atoi(string(f[3]))
		cmdline, _ := os.ReadFile(e + "/cmdline")
		p.cmdline = string(bytes.ReplaceAll(cmdline, []byte{0}, []byte(" ")))
		if strings.Contains(p.cmdline, filepath.Join(dir, supervise.DirPrefix)) {
			sessions[p.session] = true
		}
		all = append(all, p)
	}
	var found []process
	for _, p := range all {
		// A zombie runs nothing any more; whose it is to reap is not our business.
		if sessions[p.session] && p.state != "Z" {
			found = append(found, p)
		}
	}
	return found
}

// holdProcesses keeps hold of processes, so that their end can be awaited and
// their IDs cannot mislead. Those that a failed test leaves are killed.
func holdProcesses(t *testing.T, procs []process) []int {
	t.Helper()
	// The children first: a guest's process runs wild when User Mode Linux dies before it.
	procs = slices.SortedFunc(slices.Values(procs), func(a, b process) int { return b.pid - a.pid })
	var fds []int
	for _, p := range procs {
		fd, err := unix.PidfdOpen(p.pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			unix.Close(fd)
		}
	})
	return fds
}

// freeze stops the virtual machine's main process, so that the guest cannot notice
// that its line has ended, and only a SIGKILL ends it.
func freeze(t *testing.T, procs []process) {
	t.Helper()
	signalMachine(t, procs, unix.SIGSTOP)
}

// signalMachine sends a signal to the virtual machine's main process, which is the
// oldest: User Mode Linux's children have its command line.
func signalMachine(t *testing.T, procs []process, sig unix.Signal) {
	t.Helper()
	var main *process
	for _, p := range procs {
		if p.pid != p.session && (main == nil || p.pid < main.pid) {
			main = &p
		}
	}
	if main == nil {
		t.Fatalf("the virtual machine is not among %v", procs)
	}
	if err := unix.Kill(main.pid, sig); err != nil {
		t.Fatal(err)
	}
}

// awaitEnd waits for the end of processes.
func awaitEnd(t *testing.T, pidfds []int) {
	t.Helper()
	deadline := time.Now().Add(endLimit)
	for _, fd := range pidfds {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		err := error(unix.EINTR)
		for errors.Is(err, unix.EINTR) {
			_, err = unix.Poll(poll, int(max(0, time.Until(deadline)).Milliseconds()))
		}
		if err != nil || poll[0].Revents == 0 {
			t.Errorf("a process of the guest still runs after %v (%v)", endLimit, err)
		}
	}
}

// checkNothingLeft fails the test if there is a process or a file of a guest.
func checkNothingLeft(t *testing.T, dir string) {
	t.Helper()
	for _, p := range guestProcesses(t, dir) {
		t.Errorf("left behind: process %d (%s) %s", p.pid, p.state, p.cmdline)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
	memory, err := filepath.Glob(sharedMemory + "/vm_file-*")
	if err != nil || len(memory) > 0 {
		t.Errorf("left behind: %v, %v", memory, err)
	}
}

// ownTemp gives the folder that the test's guests have their files in.
func ownTemp(t *testing.T) string {
	t.Helper()
	return ownTempOn(t, UML)
}

func ownTempOn(t *testing.T, m Machine) string {
	t.Helper()
	testInitOn(t, m) // built before the folder is watched: the go tool keeps files there too
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

func TestEndsLeaveNothing(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, g *Guest)
		want error
	}{
		{"power off", func(_ *testing.T, g *Guest) { _ = g.Close() }, nil},
		{"Kill", func(_ *testing.T, g *Guest) { g.Kill() }, ErrKilled},
		{"Kill of a frozen guest", func(t *testing.T, g *Guest) {
			freeze(t, guestProcesses(t, os.Getenv("TMPDIR")))
			g.Kill()
		}, ErrKilled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := ownTemp(t)
			g := boot(t, Config{})
			hung := make(chan error, 1)
			started := make(chan struct{}, 1)
			go func() {
				cmd := sh(`sleep 1000 & echo; while :; do :; done`)
				cmd.Stdout = writerFunc(func([]byte) { started <- struct{}{} })
				_, err := g.Run(context.Background(), cmd)
				hung <- err
			}()
			<-started
			pidfds := holdProcesses(t, guestProcesses(t, dir))
			// Supervisor, UML, and one for each of the programs at least.
			if len(pidfds) < 4 {
				t.Errorf("%d host processes found, too few to be the guest", len(pidfds))
			}
			tt.end(t, g)
			if err := <-hung; !errors.Is(err, cmp.Or(tt.want, ErrEnded)) {
				t.Errorf("Run: %v", err)
			}
			if err := g.Wait(); !errors.Is(err, tt.want) {
				t.Errorf("Wait: %v, want %v", err, tt.want)
			}
			awaitEnd(t, pidfds)
			checkNothingLeft(t, dir)
		})
	}
}

// linkHang gives the path of a program that hangs.
func linkHang(t *testing.T) string {
	t.Helper()
	hang := filepath.Join(t.TempDir(), hangName)
	if err := os.Link(testInit(t), hang); err != nil {
		t.Fatal(err)
	}
	return hang
}

// TestTimeLimitKillsAHungCommand has one of Go and one of others hang in a guest,
// which tells of them.
func TestTimeLimitKillsAHungCommand(t *testing.T) {
	dir := ownTemp(t)
	const limit = 10 * time.Second // boot included, on a busy machine
	start := time.Now()
	g := boot(t, Config{TimeLimit: limit})
	var stderr bytes.Buffer
	cmd := sh(linkHang(t) + ` & while :; do :; done`)
	cmd.Stderr = &stderr
	_, err := g.Run(t.Context(), cmd)
	if !errors.Is(err, ErrTimeLimit) {
		t.Fatalf("Run: %v, want ErrTimeLimit", err)
	}
	for _, told := range []string{"Name linux.uml; ", "signal: ", "guest.(*agent).explain"} { // a process, its timer, a goroutine
		if !strings.Contains(err.Error(), told) {
			t.Errorf("Run: %v; it does not tell %q", err, told)
		}
	}
	if out := stderr.String(); !strings.HasPrefix(out, hangText) || !strings.Contains(out, "goroutine 1 ") {
		t.Errorf("the program's goroutines are not told: %q", out)
	}
	if err := g.Wait(); !errors.Is(err, ErrTimeLimit) {
		t.Errorf("Wait: %v, want ErrTimeLimit", err)
	}
	if took := time.Since(start); took < limit || took > limit+endLimit {
		t.Errorf("killed after %v, the limit is %v", took, limit)
	}
	checkNothingLeft(t, dir)
}

func TestContextEndsTheGuest(t *testing.T) {
	dir := ownTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	g, err := Boot(ctx, Config{Init: testInit(t)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v, want context.Canceled", err)
	}
	checkNothingLeft(t, dir)
}

func TestBootFails(t *testing.T) {
	dir := ownTemp(t)
	tests := []struct {
		name  string
		cfg   Config
		is    error
		holds string
	}{
		{"no init", Config{}, nil, "no Init"},
		{"init does not exist", Config{Init: "/no/such"}, os.ErrNotExist, "/no/such"},
		{"init is another program", Config{Init: "/bin/true"}, io.EOF, "guest.Main"},
		{"init hangs", Config{Init: linkHang(t), TimeLimit: 5 * time.Second}, ErrTimeLimit, hangText},
		{"too little memory", Config{Init: testInit(t), Memory: 4}, nil, "console"},
		{"no device", Config{Init: testInit(t), Device: "/no/such"}, os.ErrNotExist, "device socket"},
		{"device path with a colon", Config{Init: testInit(t), Device: "/a:b"}, nil, "cannot hold"},
		{"device path too long", Config{Init: testInit(t), Device: "/" + strings.Repeat("a", 107)}, nil, "107"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Boot(t.Context(), tt.cfg)
			if err == nil {
				g.Kill()
				t.Fatal("no error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.holds) {
				t.Errorf("error %v, want %v with %q in its text", err, tt.is, tt.holds)
			}
			checkNothingLeft(t, dir)
		})
	}
}

// TestHostDies kills the process that booted a guest.
func TestHostDies(t *testing.T) {
	for _, m := range []Machine{UML, QEMU61} {
		t.Run(m.String(), func(t *testing.T) { testHostDies(t, m) })
	}
}

func testHostDies(t *testing.T, m Machine) {
	dir := ownTempOn(t, m)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envHold+"="+testInitOn(t, m), envHoldMachine+"="+string(m))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line != "up\n" {
		t.Fatalf("the process that boots a guest says %q, %v", line, err)
	}
	procs := guestProcesses(t, dir)
	if len(procs) < 2 {
		t.Errorf("%d host processes found, too few to be the guest: %v", len(procs), procs)
	}
	pidfds := holdProcesses(t, procs)
	freeze(t, procs)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	awaitEnd(t, pidfds)
	checkNothingLeft(t, dir)
}

// TestMachineEndsBySignal has a program in the place of User Mode Linux that ends
// by a signal, before or after the guest's kernel would have come to its end.
func TestMachineEndsBySignal(t *testing.T) {
	dir := ownTemp(t)
	tests := []struct {
		name, shows string
		orderly     bool
	}{
		{"in the middle", "EXT4-fs: mounted", false},
		{"on the way down", "reboot: Restarting system", false},
		{"halted", haltText, true},
		{"halted by a panic", panicText + "\n" + haltText, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bin := t.TempDir()
			script := fmt.Sprintf("#!/bin/sh\necho '%s'\nkill -SEGV $$\n", tt.shows)
			if err := os.WriteFile(filepath.Join(bin, umlBinary), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			_, err := Boot(t.Context(), Config{Init: testInit(t)})
			if got := errors.Is(err, ErrEnded); got != tt.orderly {
				t.Errorf("an orderly end: %v, want %v: %v", got, tt.orderly, err)
			}
			if err == nil || !tt.orderly && !strings.Contains(err.Error(), "signal 11") {
				t.Errorf("error %v does not tell the signal", err)
			}
		})
	}
	checkNothingLeft(t, dir)
}

// TestMachineKilled kills the virtual machine of a guest that is at work.
func TestMachineKilled(t *testing.T) {
	dir := ownTemp(t)
	g, err := Boot(t.Context(), Config{Init: testInit(t)})
	if err != nil {
		t.Fatal(err)
	}
	procs := guestProcesses(t, dir)
	pidfds := holdProcesses(t, procs)
	signalMachine(t, procs, unix.SIGKILL)
	if err := g.Wait(); err == nil || !strings.Contains(err.Error(), "ended by signal 9") {
		t.Errorf("Wait: %v, want an end by signal 9", err)
	}
	awaitEnd(t, pidfds)
	checkNothingLeft(t, dir)
}

// TestSupervisorDies: then its work falls to the process that booted the guest.
func TestSupervisorDies(t *testing.T) {
	dir := ownTemp(t)
	g, err := Boot(t.Context(), Config{Init: testInit(t)})
	if err != nil {
		t.Fatal(err)
	}
	procs := guestProcesses(t, dir)
	pidfds := holdProcesses(t, procs)
	for _, p := range procs {
		if p.pid == p.session {
			if err := unix.Kill(p.pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.Wait(); err == nil {
		t.Error("Wait: no error")
	}
	awaitEnd(t, pidfds)
	checkNothingLeft(t, dir)
}

// TestNoVsockOnTheHost: should a guest's process escape, it cannot open a vsock.
func TestNoVsockOnTheHost(t *testing.T) {
	dir := ownTemp(t)
	boot(t, Config{})
	procs := guestProcesses(t, dir)
	for _, p := range procs {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		if err == nil && !strings.Contains(string(status), "\nSeccomp:\t2\n") {
			t.Errorf("process %d %s has no seccomp filter", p.pid, p.cmdline)
		}
	}
}

// TestDeviceIsAttached: the guest's kernel connects to the device's socket and
// begins a vhost-user session. That the device works is for its own tests.
func TestDeviceIsAttached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := make(chan uint32, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(first)
			return
		}
		defer c.Close()
		var request [12]byte // request, flags, size: u32 each, in the machine's order
		if _, err := io.ReadFull(c, request[:]); err == nil {
			first <- binary.NativeEndian.Uint32(request[:])
		}
		close(first)
	}()
	boot(t, Config{Device: path})
	l.Close()
	if got := <-first; got != 3 && got != 1 { // SET_OWNER, GET_FEATURES
		t.Errorf("the guest's first request is %d, want SET_OWNER or GET_FEATURES", got)
	}
}
