package supervise

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main is called at the start of a program. It returns at once, unless the
// program was started as a supervisor: then it never returns. The program's
// arguments are the command line to supervise.
func Main() {
	dir := os.Getenv(EnvDir)
	if dir == "" {
		return
	}
	if !strings.HasPrefix(filepath.Base(dir), DirPrefix) || len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "supervise: %s=%q is not a guest's folder, or there is no command; this role is for package testguest\n", EnvDir, dir)
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
	}
	os.Exit(code)
}

func run(args []string) (exit int, err error) {
	if err := os.Unsetenv(EnvDir); err != nil {
		return 0, err
	}
	// A guest that crashes must not leave its memory behind as a file.
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return 0, fmt.Errorf("forbid core files: %w", err)
	}
	// UML sends SIGTERM around when it panics; the guest's files must go even then.
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	// The parent-death signal below counts from the death of the thread that
	// starts the virtual machine, so that thread must stay.
	runtime.LockOSThread()
	if err := denyVsock(); err != nil {
		return 0, fmt.Errorf("forbid AF_VSOCK to the guest's host processes: %w", err)
	}

	// Inherited, hence without close-on-exec: the machine must not hold any of them twice.
	for _, fd := range []int{FDLifeline, FDLineIn, FDLineOut} {
		unix.CloseOnExec(fd)
	}
	lifeline := os.NewFile(FDLifeline, "lifeline")
	in, out := os.NewFile(FDLineIn, "line in"), os.NewFile(FDLineOut, "line out")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{in, out}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the guest: %w", err)
	}
	group := &group{id: cmd.Process.Pid}
	// Once the machine is gone, nobody but the test may hold the line open.
	in.Close()
	out.Close()
	if _, err := fmt.Fprintln(lifeline, cmd.Process.Pid); err != nil {
		group.kill()
	}
	go func() {
		_, _ = io.Copy(io.Discard, lifeline) // any end of it is the end
		group.kill()
	}()

	// The group's ID stays taken, and so safe to kill, until its leader is reaped.
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	group.end()
	err = cmd.Wait()
	if cmd.ProcessState == nil {
		return 0, fmt.Errorf("wait for the guest: %w", err)
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ExitSignal + int(status.Signal()), nil
}

// group is the virtual machine's process group.
type group struct {
	id    int
	mu    sync.Mutex
	ended bool // the leader is dead and may be reaped: id may soon be another's
}

func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = syscall.Kill(-g.id, syscall.SIGKILL) // fails only if nobody is left
	}
}

// end kills what its dead leader left behind, and makes later kills do nothing.
func (g *group) end() {
	g.kill()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
}
