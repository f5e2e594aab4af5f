package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func guestMain() {
	switch os.Getenv(EnvRole) {
	case RoleInit:
		// The variable alone must not power off a machine that is no guest.
		if os.Getpid() == 1 {
			initMain()
		}
	case roleAgent:
		if os.Getppid() == 1 && os.Getenv(EnvGuest) != "" {
			agentMain()
		}
	}
}

// initMain is process 1 of the guest.
func initMain() {
	if err := initRun(); err != nil {
		// Standard error is the guest's console, which the test shows when a boot fails.
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	panic(fmt.Sprintf("init: power off: %v", err)) // the kernel panics when init ends, which ends the guest too
}

func initRun() error {
	if err := setUp(); err != nil {
		return err
	}
	agent, err := os.StartProcess("/proc/self/exe", []string{"agent"}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Env: []string{
			EnvRole + "=" + roleAgent, EnvLine + "=" + os.Getenv(EnvLine), EnvGuest + "=1",
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/tmp", "TMPDIR=/tmp",
		},
	})
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the agent: %w", err)
		case pid == agent.Pid && status.ExitStatus() != 0:
			return fmt.Errorf("the agent ended with status %#x", uint32(status))
		case pid == agent.Pid:
			return nil
		}
	}
}

// setUp mounts what a program expects and loads the kernel modules.
func setUp() error {
	mounts := []struct{ fstype, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"},
	}
	for _, m := range mounts {
		err := unix.Mount(m.fstype, m.dir, m.fstype, 0, "")
		// EBUSY: the kernel has mounted /dev by itself.
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.dir, err)
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring up the loopback network interface: %w", err)
	}
	if os.Getenv(EnvRoot) == RootOfHost {
		return mountTmp()
	}
	return nil
}

// loopbackUp gives the guest 127.0.0.1, its only network, which many programs take
// for granted.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// mountTmp makes /tmp writable and private. What the host has there stays
// visible, since that is where a test builds the programs it runs in the guest.
func mountTmp() error {
	const upper, work = "/run/tmp/upper", "/run/tmp/work"
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.Chmod(upper, 0o777|os.ModeSticky); err != nil {
		return err
	}
	opts := fmt.Sprintf("lowerdir=/tmp,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", "/tmp", "overlay", 0, opts); err != nil {
		return fmt.Errorf("mount an overlay on /tmp (is the overlay module loaded?): %w", err)
	}
	return nil
}

func loadModules() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	dir := filepath.Join(os.Getenv(EnvModuleRoot), unix.ByteSliceToString(name.Release[:]))
	for _, module := range strings.FieldsFunc(os.Getenv(EnvModules), func(r rune) bool { return r == ',' }) {
		if err := loadModule(filepath.Join(dir, module)); err != nil {
			return fmt.Errorf("load module %s: %w", module, err)
		}
	}
	return nil
}

// compressedExt is how the name of a module ends that the kernel unpacks itself.
const compressedExt = ".xz"

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(path) == compressedExt {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
