package doctor

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Modules are the kernel modules that have to do with vsock, and what each is for.
var Modules = []struct{ Name, Use string }{
	{"vsock", "the sockets themselves"},
	{"vhost_vsock", "a host's way to guests (virtio)"},
	{"vmw_vsock_virtio_transport", "a guest's way to its host (virtio)"},
	{"vmw_vsock_vmci_transport", "VMware's way, of guest and host"},
	{"hv_sock", "a guest's way to its host (Hyper-V)"},
	{"vsock_loopback", "CID 1, the machine itself"},
}

const (
	// virtioVsock is the virtio device number of vsock, in sysfs (virtio 1.3
	// section 5.10.1: 19).
	virtioVsock = "0x0013"

	// capNetBind is the bit of CAP_NET_BIND_SERVICE.
	capNetBind = 10

	// maxFile is how much of a file is read: those here are small.
	maxFile = 1 << 20
)

// Facts are what was found out. JSON is for programs that read it.
type Facts struct {
	Family   int      `json:"address_family,omitempty"` // 0: the system has none
	Kernel   string   `json:"kernel,omitempty"`
	Version  string   `json:"vsock_version,omitempty"` // of the module
	CID      *uint32  `json:"local_cid,omitempty"`     // nil: CIDError tells why
	CIDError string   `json:"local_cid_error,omitempty"`
	Modules  []string `json:"modules"`           // that are loaded, or built in
	Barred   []string `json:"barred,omitempty"`  // that a file of modprobe.d keeps from being loaded, with its name
	Devices  []Device `json:"devices"`           // that are there
	Virtio   bool     `json:"virtio_device"`     // a vsock device is on the virtio bus
	Bound    bool     `json:"virtio_bound"`      // and a driver serves it
	Guest    bool     `json:"guest"`             // the processor says that this is a virtual machine
	Seccomp  string   `json:"seccomp,omitempty"` // off, strict or filter
	LowPorts bool     `json:"low_ports"`         // the right to ports below 1024
	Guests   []Guest  `json:"guests,omitempty"`  // virtual machines of this host that have a CID
	Probed   *Probed  `json:"probed,omitempty"`  // nil: Probe was not called
	Opened   error    `json:"-"`                 // why the local CID is not known
}

// Device is a device file.
type Device struct {
	Path string `json:"path"`
	Mode string `json:"mode"`
}

// Guest is a process that was given a CID for a guest on its command line.
type Guest struct {
	PID int    `json:"pid"`
	CID uint32 `json:"cid"`
}

// System is where the facts come from.
type System struct {
	Root     fs.FS // the root of the file system
	Family   func() (int, error)
	LocalCID func() (uint32, error)
}

// Look gathers the facts.
func Look(s System) Facts {
	f := Facts{Modules: []string{}, Devices: []Device{}}
	f.Family, _ = s.Family()
	f.Kernel = s.line("proc/sys/kernel/osrelease")
	f.Version = s.line("sys/module/vsock/version")
	if cid, err := s.LocalCID(); err == nil {
		f.CID = &cid
	} else {
		f.CIDError, f.Opened = err.Error(), err
	}
	for _, m := range Modules {
		if _, err := fs.Stat(s.Root, "sys/module/"+m.Name); err == nil {
			f.Modules = append(f.Modules, m.Name)
		}
	}
	f.Barred = s.barred()
	for _, d := range []string{"dev/vsock", "dev/vhost-vsock"} {
		if i, err := fs.Stat(s.Root, d); err == nil {
			f.Devices = append(f.Devices, Device{"/" + d, i.Mode().Perm().String()})
		}
	}
	f.Virtio, f.Bound = s.virtio()
	f.Guest = s.guest()
	f.status(s)
	f.Guests = s.guests()
	return f
}

// read gives a file, or nothing.
func (s System) read(name string) []byte {
	file, err := s.Root.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	var b bytes.Buffer
	_, _ = b.ReadFrom(&limited{file, maxFile})
	return b.Bytes()
}

func (s System) line(name string) string {
	first, _, _ := strings.Cut(string(s.read(name)), "\n")
	return first
}

// barred finds "blacklist NAME" and "install NAME ..." of modules that matter.
func (s System) barred() []string {
	var all []string
	for _, dir := range []string{"etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"} {
		files, _ := fs.Glob(s.Root, dir+"/*.conf")
		for _, name := range files {
			lines := bufio.NewScanner(bytes.NewReader(s.read(name)))
			for lines.Scan() {
				w := strings.Fields(lines.Text())
				if len(w) < 2 || w[0] != "blacklist" && w[0] != "install" {
					continue
				}
				module := strings.ReplaceAll(w[1], "-", "_")
				if known(module) {
					all = append(all, module+" (/"+name+")")
				}
			}
		}
	}
	return all
}

func known(module string) bool {
	for _, m := range Modules {
		if m.Name == module {
			return true
		}
	}
	return false
}

// virtio looks for the device on the virtio bus.
func (s System) virtio() (there, bound bool) {
	devices, _ := fs.Glob(s.Root, "sys/bus/virtio/devices/*/device")
	for _, d := range devices {
		if s.line(d) == virtioVsock {
			_, err := fs.Stat(s.Root, path.Join(path.Dir(d), "driver"))
			there, bound = true, bound || err == nil
		}
	}
	return there, bound
}

// guest asks the processor's flags.
func (s System) guest() bool {
	for line := range strings.Lines(string(s.read("proc/cpuinfo"))) {
		name, flags, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "flags" {
			return slices.Contains(strings.Fields(flags), "hypervisor")
		}
	}
	return false
}

// status reads what the kernel says of this process.
func (f *Facts) status(s System) {
	for line := range strings.Lines(string(s.read("proc/self/status"))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Seccomp":
			f.Seccomp = map[string]string{"0": "off", "1": "strict", "2": "filter"}[value]
		case "CapEff":
			caps, err := strconv.ParseUint(value, 16, 64)
			f.LowPorts = err == nil && caps>>capNetBind&1 != 0
		}
	}
}

// guests finds "guest-cid=N" and "--cid N" among the arguments of processes, as
// QEMU, crosvm and Cloud Hypervisor have them.
func (s System) guests() []Guest {
	var all []Guest
	files, _ := fs.Glob(s.Root, "proc/[0-9]*/cmdline")
	for _, name := range files {
		pid, err := strconv.Atoi(path.Base(path.Dir(name)))
		if err != nil {
			continue
		}
		if cid, ok := guestCID(string(s.read(name))); ok {
			all = append(all, Guest{pid, cid})
		}
	}
	slices.SortFunc(all, func(a, b Guest) int { return a.PID - b.PID })
	return all
}

func guestCID(cmdline string) (uint32, bool) {
	args := strings.Split(cmdline, "\x00")
	for i, a := range args {
		if (a == "--cid" || a == "--vsock") && i+1 < len(args) {
			a += "," + "cid=" + strings.TrimPrefix(args[i+1], "cid=")
		}
		for _, key := range strings.Split(a, ",") {
			v, ok := strings.CutPrefix(strings.TrimPrefix(key, "guest-"), "cid=")
			if n, err := strconv.ParseUint(v, 10, 32); ok && err == nil {
				return uint32(n), true
			}
		}
	}
	return 0, false
}

// limited reads at most so much of a file.
type limited struct {
	fs.File
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, errors.New("the file is too large")
	}
	n, err := l.File.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
