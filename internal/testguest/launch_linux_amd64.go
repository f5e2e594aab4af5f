package testguest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/channel"
	"vsockets.dev/internal/testguest/supervise"
)

// launch starts the supervisor, which starts the virtual machine.
func launch(cfg *Config) (_ *instance, err error) {
	var open closers
	defer func() {
		if err != nil {
			open.close()
		}
	}()
	var theirs closers
	defer func() { theirs.close() }()

	dir, err := os.MkdirTemp("", supervise.DirPrefix)
	if err != nil {
		return nil, err
	}
	open = append(open, func() { os.RemoveAll(dir) })

	lifeline, theirLifeline, err := socketpair()
	if err != nil {
		return nil, err
	}
	open, theirs = open.add(lifeline), theirs.add(theirLifeline)
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	open, theirs = open.add(in), theirs.add(theirIn)
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	open, theirs = open.add(out), theirs.add(theirOut)
	if err := checkPipe(theirOut); err != nil {
		return nil, err
	}

	vm, err := vmCommand(cfg, dir)
	if err != nil {
		return nil, err
	}
	console := &console{log: cfg.Log}
	cmd := exec.Command(cfg.Init, vm.args...)
	cmd.Env = append(vm.env, supervise.EnvDir+"="+dir)
	// Not files: Wait returns only when the last process that holds the console
	// is gone, and all of the guest's hold it.
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{theirLifeline, theirIn, theirOut} // supervise.FDLifeline and on
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the supervisor: %w", err)
	}
	// From here on the end of the lifeline is the end of the guest.
	theirs.close()
	pid, err := readPID(lifeline)
	if err != nil {
		lifeline.Close()
		_ = cmd.Process.Kill() // it may be any program
		_ = cmd.Wait()
		return nil, fmt.Errorf("the supervisor gives no process ID (does %s call guest.Main?): %w; %s", cfg.Init, err, console.end())
	}
	return &instance{
		in: in, out: out, console: console,
		conn: channel.New(out, in, channel.WindowToGuest, channel.WindowToHost),
		kill: func() { lifeline.Close() },
		look: func() string { return processes(pid) },
		wait: func() error {
			defer os.RemoveAll(dir)
			defer lifeline.Close()
			err := wait(cmd, pid)
			sig := endSignal(err)
			switch {
			case err == nil:
			case sig != 0 && console.hasHalted():
				// The guest has ended, and its machine died of putting its own things
				// away: User Mode Linux does that with its timer still running, which
				// now and then is a SIGSEGV. Whether somebody else has killed it at
				// that moment does not matter any more.
			case sig != 0:
				return fmt.Errorf("%s: ended by signal %d (%v)", vm.args[0], sig, sig)
			default:
				return fmt.Errorf("%s: %w", vm.args[0], err)
			}
			return console.panicked()
		},
	}, nil
}

// wait waits for the end of the supervisor and of the guest's processes.
func wait(cmd *exec.Cmd, group int) error {
	// If somebody else killed the supervisor, its work is ours. This is before
	// Wait, which waits for the guest's processes too.
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	if info.Code != cldExited {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
	return cmd.Wait()
}

// endSignal gives the signal that ended the virtual machine, 0 if none did, from
// what waiting for its supervisor gave.
func endSignal(err error) syscall.Signal {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0
	}
	return syscall.Signal(max(exit.ExitCode()-supervise.ExitSignal, 0))
}

// cldExited is CLD_EXITED: the process ended by itself.
const cldExited = 1

// checkPipe makes sure that the line can hold what the window allows: the
// kernel gives smaller pipes to a user who has many.
func checkPipe(f *os.File) error {
	size, err := unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, channel.PipeSize)
	if err != nil || size < channel.PipeSize {
		return fmt.Errorf("make a pipe of %d bytes (got %d; see /proc/sys/fs/pipe-user-pages-soft): %w", channel.PipeSize, size, err)
	}
	return nil
}

// socketpair gives two joined sockets, both closed on exec.
func socketpair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "lifeline"), os.NewFile(uintptr(fds[1]), "supervisor's lifeline"), nil
}

// Limits of what the supervisor says at the start, which is a process ID.
const (
	maxPIDLine = 16
	pidLimit   = 10 * time.Second
)

func readPID(lifeline *os.File) (int, error) {
	if err := lifeline.SetReadDeadline(time.Now().Add(pidLimit)); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(io.LimitReader(lifeline, maxPIDLine)).ReadString('\n')
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0, err
	}
	// It is going to be killed as a group: 0 and 1 would be the wrong one.
	if pid <= 1 {
		return 0, errors.New("process ID " + line)
	}
	return pid, nil
}

// closers are what is to be closed or undone, last first.
type closers []func()

func (c closers) add(f *os.File) closers { return append(c, func() { f.Close() }) }

func (c closers) close() {
	for i := len(c) - 1; i >= 0; i-- {
		c[i]()
	}
}
