package testguest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/channel"
	"vsockets.dev/internal/testguest/guest"
	"vsockets.dev/internal/testguest/supervise"
)

// What Debian's package installs.
const (
	umlPackage = "user-mode-linux"
	umlBinary  = "linux.uml"
	moduleRoot = "/usr/lib/uml/modules"
)

// virtioIDVsock is the device type of virtio-vsock, virtio 1.3 section 5.
const virtioIDVsock = 19

// maxSocketPath is the longest path of a Unix socket, sun_path without its end.
const maxSocketPath = 107

// sharedMemory is where the guest's memory is best kept.
const sharedMemory = "/dev/shm"

// Modules of the guest, in the order of their dependencies.
var modules = []string{
	"kernel/fs/overlayfs/overlay.ko",
	"kernel/net/vmw_vsock/vsock.ko",
	"kernel/net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
	"kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko",
}

const loopbackModule = "kernel/net/vmw_vsock/vsock_loopback.ko"

// Available gives nil if a guest can be booted here, and else the reason and what to do.
func Available() error {
	if _, err := exec.LookPath(umlBinary); err != nil {
		return fmt.Errorf("testguest: no %s in PATH: install the Debian package %s", umlBinary, umlPackage)
	}
	if _, err := os.Stat(moduleRoot); err != nil {
		return fmt.Errorf("testguest: no kernel modules for the guest: install the Debian package %s: %w", umlPackage, err)
	}
	return nil
}

// launch starts the supervisor, which starts User Mode Linux.
func launch(cfg *Config) (_ *machine, err error) {
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
	lineIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	open, theirs = open.add(in), theirs.add(lineIn)
	out, lineOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	open, theirs = open.add(out), theirs.add(lineOut)
	if err := checkPipe(lineOut); err != nil {
		return nil, err
	}

	uml, err := exec.LookPath(umlBinary)
	if err != nil {
		return nil, err
	}
	args, err := commandLine(cfg, dir)
	if err != nil {
		return nil, err
	}
	console := &console{log: cfg.Log}
	cmd := exec.Command(cfg.Init, append([]string{uml}, args...)...)
	cmd.Env = []string{supervise.EnvDir + "=" + dir, "TMPDIR=" + memoryDir(cfg.Memory)}
	// Not files: Wait returns only when the last process that holds the console
	// is gone, and all of the guest's hold it.
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{theirLifeline, lineIn, lineOut} // supervise.FDLifeline and on
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
	return &machine{
		in: in, out: out, console: console,
		conn: channel.New(out, in, channel.WindowToGuest, channel.WindowToHost),
		kill: func() { lifeline.Close() },
		wait: func() error {
			defer os.RemoveAll(dir)
			defer lifeline.Close()
			return wait(cmd, pid)
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
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", umlBinary, err)
	}
	return nil
}

// cldExited is CLD_EXITED: the process ended by itself.
const cldExited = 1

// commandLine gives the arguments of User Mode Linux, which are its kernel's command line.
func commandLine(cfg *Config, dir string) ([]string, error) {
	init, err := filepath.Abs(cfg.Init)
	if err != nil {
		return nil, err
	}
	list := modules
	if cfg.Loopback {
		list = append(list[:len(list):len(list)], loopbackModule)
	}
	args := []string{
		"mem=" + strconv.Itoa(cfg.Memory) + "M",
		"rootfstype=hostfs", "rootflags=/", "ro",
		"init=" + init,
		"con=null", "con0=null,fd:1", "ssl=null", "ssl0=fd:3,fd:4",
		// Its process ID file and control socket. The default is in the home folder.
		"uml_dir=" + dir, "umid=guest",
		// A panic ends the guest.
		"panic=-1", "noreboot", "quiet",
		guest.EnvRole + "=" + guest.RoleInit,
		guest.EnvModuleRoot + "=" + moduleRoot,
		guest.EnvModules + "=" + strings.Join(list, ","),
	}
	if cfg.Device != "" {
		device, err := filepath.Abs(cfg.Device)
		switch {
		case err != nil:
			return nil, err
		case strings.Contains(device, ":"):
			return nil, fmt.Errorf("device socket %q: the kernel's command line cannot hold a colon here", device)
		case len(device) > maxSocketPath:
			return nil, fmt.Errorf("device socket %q: longer than a socket's path may be, %d bytes", device, maxSocketPath)
		}
		// Without this check the guest would boot, and just have no device.
		if _, err := os.Stat(device); err != nil {
			return nil, fmt.Errorf("device socket: %w", err)
		}
		args = append(args, fmt.Sprintf("virtio_uml.device=%s:%d", device, virtioIDVsock))
	}
	for _, arg := range args {
		if strings.ContainsAny(arg, " \t\n\"") {
			return nil, fmt.Errorf("%q: the kernel's command line cannot hold a space or quote", arg)
		}
	}
	return args, nil
}

// memoryDir gives the folder for the guest's memory. User Mode Linux makes a
// file there, removes its name at once, and maps it, executable.
func memoryDir(mib int) string {
	var st unix.Statfs_t
	if err := unix.Statfs(sharedMemory, &st); err != nil {
		return os.TempDir()
	}
	// In containers it is often small, and a guest that outgrows it dies of SIGBUS.
	if st.Flags&unix.ST_NOEXEC != 0 || st.Bavail*uint64(st.Bsize) < uint64(mib)<<20 {
		return os.TempDir()
	}
	return sharedMemory
}

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
