package testguest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/testguest/guest"
)

// What Debian's package of User Mode Linux installs.
const (
	umlPackage    = "user-mode-linux"
	umlBinary     = "linux.uml"
	umlModuleRoot = "/usr/lib/uml/modules"
)

// virtioIDVsock is the device type of virtio-vsock, virtio 1.3 section 5.
const virtioIDVsock = 19

// sharedMemory is where the guest's memory is best kept.
const sharedMemory = "/dev/shm"

// umlModules are the modules of the guest, in the order of their dependencies.
var umlModules = []string{
	"kernel/fs/overlayfs/overlay.ko",
	"kernel/net/vmw_vsock/vsock.ko",
	"kernel/net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
	"kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko",
}

const loopbackModule = "kernel/net/vmw_vsock/vsock_loopback.ko"

func umlAvailable() error {
	if _, err := exec.LookPath(umlBinary); err != nil {
		return fmt.Errorf("testguest: no %s in PATH: install the Debian package %s", umlBinary, umlPackage)
	}
	if _, err := os.Stat(umlModuleRoot); err != nil {
		return fmt.Errorf("testguest: no kernel modules for the guest: install the Debian package %s: %w", umlPackage, err)
	}
	return nil
}

// umlCommand gives the command of User Mode Linux. Its arguments are its kernel's
// command line.
func umlCommand(cfg *Config, dir string) (*command, error) {
	uml, err := exec.LookPath(umlBinary)
	if err != nil {
		return nil, err
	}
	init, err := filepath.Abs(cfg.Init)
	if err != nil {
		return nil, err
	}
	list := umlModules
	if cfg.Loopback {
		list = append(list[:len(list):len(list)], loopbackModule)
	}
	args := []string{
		"mem=" + strconv.Itoa(cfg.Memory) + "M",
		"rootfstype=hostfs", "rootflags=/", "ro",
		"init=" + init,
		"con=null", "con0=null,fd:1", "ssl=null", fmt.Sprintf("ssl0=fd:%d,fd:%d", lineIn, lineOut),
		// Its process ID file and control socket. The default is in the home folder.
		"uml_dir=" + dir, "umid=guest",
		// A panic ends the guest.
		"panic=-1", "noreboot", "quiet",
		guest.EnvRole + "=" + guest.RoleInit,
		guest.EnvLine + "=/dev/ttyS0",
		guest.EnvRoot + "=" + guest.RootOfHost,
		guest.EnvModuleRoot + "=" + umlModuleRoot,
		guest.EnvModules + "=" + strings.Join(list, ","),
	}
	if cfg.Device != "" {
		device, err := devicePath(cfg.Device, ":")
		if err != nil {
			return nil, err
		}
		args = append(args, fmt.Sprintf("virtio_uml.device=%s:%d", device, virtioIDVsock))
	}
	if err := checkParameters(args); err != nil {
		return nil, err
	}
	return &command{
		args: append([]string{uml}, args...),
		env:  []string{"TMPDIR=" + memoryDir(cfg.Memory)},
	}, nil
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
