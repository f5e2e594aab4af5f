package testguest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"vsockets.dev/internal/testguest/guest"
	"vsockets.dev/internal/testguest/initramfs"
)

// What Debian's package of QEMU installs.
const (
	qemuPackage = "qemu-system-x86"
	qemuBinary  = "qemu-system-x86_64"
)

// qemuModules are the modules of the guest, in the order of their dependencies.
// The kernel has some of them built in, which ones depends on its version.
var qemuModules = []string{
	"kernel/drivers/virtio/virtio_ring.ko",
	"kernel/drivers/virtio/virtio.ko",
	"kernel/drivers/virtio/virtio_pci_legacy_dev.ko",
	"kernel/drivers/virtio/virtio_pci_modern_dev.ko",
	"kernel/drivers/virtio/virtio_pci.ko",
	"kernel/net/vmw_vsock/vsock.ko",
	"kernel/net/vmw_vsock/vmw_vsock_virtio_transport_common.ko",
	"kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko",
}

// Paths in the guest's first root.
const (
	qemuInit       = "/init" // where the kernel looks for it
	qemuModuleRoot = "/lib/modules"
)

// kernel is a kernel for QEMU, unpacked from Debian's package.
type kernel struct {
	image   string // path of what boots
	release string
	modules string // folder of its modules
}

func findKernel(m Machine) (*kernel, error) {
	dir, err := kernelsFolder()
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(filepath.Join(dir, m.series(), "boot", "vmlinuz-"+m.series()+".*"))
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("no Linux %s in %s: `make test` gets it; or set %s to the folder that has it", m.series(), dir, EnvKernels)
	}
	k := &kernel{image: images[len(images)-1]}
	k.release = strings.TrimPrefix(filepath.Base(k.image), "vmlinuz-")
	k.modules = filepath.Join(dir, m.series(), "lib", "modules", k.release)
	if _, err := os.Stat(k.modules); err != nil {
		return nil, fmt.Errorf("no modules for the guest's kernel: remove %s and run `make test`: %w", filepath.Join(dir, m.series()), err)
	}
	return k, nil
}

func qemuAvailable(m Machine) error {
	if _, err := exec.LookPath(qemuBinary); err != nil {
		return fmt.Errorf("testguest: no %s in PATH: install the Debian package %s", qemuBinary, qemuPackage)
	}
	if _, err := findKernel(m); err != nil {
		return fmt.Errorf("testguest: %s: %w", m, err)
	}
	return nil
}

// find gives those of the modules that the kernel has not built in. They may be
// compressed: then the kernel unpacks them itself.
func (k *kernel) find(modules []string) ([]string, error) {
	builtin, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, module := range modules {
		if strings.Contains("\n"+string(builtin), "\n"+module+"\n") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(k.modules, module) + "*")
		if err != nil {
			return nil, err
		}
		if len(files) != 1 {
			return nil, fmt.Errorf("kernel %s has %d files for the module %s", k.release, len(files), module)
		}
		found = append(found, filepath.Join(filepath.Dir(module), filepath.Base(files[0])))
	}
	return found, nil
}

// qemuCommand gives the command of QEMU, and makes the guest's first root.
func qemuCommand(cfg *Config, dir string) (*command, error) {
	qemu, err := exec.LookPath(qemuBinary)
	if err != nil {
		return nil, err
	}
	k, err := findKernel(cfg.Machine)
	if err != nil {
		return nil, err
	}
	wanted := qemuModules
	if cfg.Loopback {
		wanted = append(wanted[:len(wanted):len(wanted)], loopbackModule)
	}
	modules, err := k.find(wanted)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "initramfs")
	if err := makeRoot(root, cfg, k, modules); err != nil {
		return nil, fmt.Errorf("make the guest's first root: %w", err)
	}
	params := []string{
		// A panic ends the guest: QEMU does not reboot.
		"console=ttyS0", "panic=-1", "quiet",
		// The kernel counts timer interrupts when it boots, and gives up where the
		// emulator, on a busy machine, is late with them.
		"no_timer_check",
		guest.EnvRole + "=" + guest.RoleInit,
		guest.EnvLine + "=/dev/ttyS1",
		guest.EnvModuleRoot + "=" + qemuModuleRoot,
		guest.EnvModules + "=" + strings.Join(modules, ","),
	}
	if err := checkParameters(params); err != nil {
		return nil, err
	}
	line, err := nameLine(dir)
	if err != nil {
		return nil, err
	}
	memory := strconv.Itoa(cfg.Memory)
	args := []string{
		qemu, "-nodefaults", "-no-user-config", "-no-reboot",
		// Without CMPXCHG16B, which QEMU 7.2 emulates wrongly now and then: an address was left in
		// the flags, and Linux 6.12, which uses it to allocate memory, died at boot of a double fault.
		"-accel", "tcg,thread=multi", "-cpu", "max,-cx16", "-m", memory,
		// The device's back-end maps the guest's memory, so it is a file without a name.
		"-object", "memory-backend-memfd,id=memory,size=" + memory + "M,share=on", "-numa", "node,memdev=memory",
		"-nic", "none", "-display", "none", "-monitor", "none",
		"-kernel", k.image, "-initrd", root, "-append", strings.Join(params, " "),
		// The guest's serial ports in the order of their names: console, control line.
		"-chardev", "file,id=console,path=/proc/self/fd/1", "-serial", "chardev:console",
		"-chardev", "pipe,id=line,path=" + optionValue(line), "-serial", "chardev:line",
	}
	if cfg.Device != "" {
		device, err := devicePath(cfg.Device, "")
		if err != nil {
			return nil, err
		}
		args = append(args, "-chardev", "socket,id=vsock,path="+optionValue(device), "-device", "vhost-user-vsock-pci,chardev=vsock")
	}
	return &command{args: args}, nil
}

// optionValue gives s in the form that a value among others in an option has.
func optionValue(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// nameLine gives the line's two pipes the names under which QEMU opens them. A
// socket, which could do without, is no line for a serial port: with one byte a
// write it is full after a few hundred.
func nameLine(dir string) (string, error) {
	line := filepath.Join(dir, "line")
	return line, errors.Join(
		os.Symlink(fmt.Sprintf("/proc/self/fd/%d", lineIn), line+".in"),
		os.Symlink(fmt.Sprintf("/proc/self/fd/%d", lineOut), line+".out"))
}

// makeRoot writes the archive of the guest's first and only root.
func makeRoot(path string, cfg *Config, k *kernel, modules []string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := bufio.NewWriter(f)
	w := initramfs.New(b)
	for _, folder := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := w.Folder(folder, 0o755); err != nil {
			return err
		}
	}
	if err := w.Folder("/tmp", 0o1777); err != nil {
		return err
	}
	if err := w.File(qemuInit, cfg.Init); err != nil {
		return err
	}
	for _, module := range modules {
		if err := w.File(filepath.Join(qemuModuleRoot, k.release, module), filepath.Join(k.modules, module)); err != nil {
			return err
		}
	}
	for _, file := range cfg.Files {
		if err := w.File(file, file); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return b.Flush()
}
