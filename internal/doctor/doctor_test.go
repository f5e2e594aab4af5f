package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// machine is a file system, a line a file: "path" or "path: content", where \n and
// \0 stand for themselves.
func machine(lines ...string) fstest.MapFS {
	m := make(fstest.MapFS)
	for _, l := range lines {
		name, text, _ := strings.Cut(l, ": ")
		text = strings.NewReplacer(`\n`, "\n", `\0`, "\x00").Replace(text)
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o666}
	}
	return m
}

// sound is a guest that lacks nothing.
var sound = []string{
	"sys/module/vsock/version: 1.0.2.0-k\\n", "sys/module/vmw_vsock_virtio_transport/x", "sys/module/vsock_loopback/x",
	"dev/vsock", "proc/self/status: Seccomp:\t0\\nCapEff:\tffffffffffffffff\\n",
	"sys/bus/virtio/devices/virtio0/device: 0x0013\\n", "sys/bus/virtio/devices/virtio0/driver/x",
	"proc/cpuinfo: processor : 0\\nflags\t\t: fpu hypervisor\\n",
}

// without leaves out what has a word in it.
func without(lines []string, word string) []string {
	var left []string
	for _, l := range lines {
		if !strings.Contains(l, word) {
			left = append(left, l)
		}
	}
	return left
}

func TestDiagnose(t *testing.T) {
	missing := fmt.Errorf("local CID: %w", fs.ErrNotExist)
	denied := fmt.Errorf("local CID: %w", fs.ErrPermission)
	for _, tc := range []struct {
		name   string
		files  []string
		cid    uint32
		err    error // of the CID
		wanted uint32
		want   map[string]string // by check: state and a part of text and remedy
	}{
		{"sound guest", sound, 3, nil, 0, nil},
		{"no module", without(without(sound, "module/vsock/"), "dev/vsock"), 0, missing, 0, map[string]string{
			"module": "problem modprobe vsock", "device": "problem --device /dev/vsock", "cid": "problem cannot be known",
		}},
		{"no right to the device", sound, 0, denied, 0, map[string]string{"device": "problem udev", "cid": "problem"}},
		{"device that fails", sound, 0, syscall.ENODEV, 0, map[string]string{"device": "problem does not work", "cid": "problem"}},
		{"wildcard, no driver", without(sound, "driver"), vsock.CIDAny, nil, 0, map[string]string{"cid": "problem modprobe vmw_vsock_virtio_transport"}},
		{"wildcard, no device", without(sound, "virtio0"), vsock.CIDAny, nil, 0, map[string]string{"cid": "problem give the virtual machine a vsock device"}},
		{"wildcard, a host", without(without(sound, "virtio0"), "cpuinfo"), vsock.CIDAny, nil, 0, map[string]string{"cid": "problem modprobe vhost_vsock"}},
		{"no loopback", without(sound, "loopback"), 3, nil, 0, map[string]string{"loopback": "note modprobe vsock_loopback"}},
		{"host without vhost", sound, 2, nil, 0, map[string]string{"vhost": "problem modprobe vhost_vsock"}},
		{"host", append([]string{"dev/vhost-vsock"}, sound...), 2, nil, 0, map[string]string{"vhost": "ok -rw-rw-rw-"}},
		{"seccomp", append(without(sound, "self/status"), `proc/self/status: Seccomp:	2\nCapEff:	0\n`), 3, nil, 0, map[string]string{
			"sockets": "note --probe", "ports": "note CAP_NET_BIND_SERVICE",
		}},
		{"barred", append([]string{`etc/modprobe.d/x.conf: # no\nblacklist vhost-vsock\ninstall floppy /bin/false\n`}, sound...), 3, nil, 0, map[string]string{
			"modprobe": "note vhost_vsock (/etc/modprobe.d/x.conf)",
		}},
		{"free CID", sound, 3, nil, 7, map[string]string{"guests": "ok CID 7 is free"}},
		{"reserved CID", sound, 3, nil, 1, map[string]string{"guests": "problem reserved"}},
		{"CID in use", append([]string{`proc/42/cmdline: qemu\0-device\0vhost-vsock-pci,guest-cid=7\0`}, sound...), 3, nil, 7, map[string]string{"guests": "problem CID 7 is that of process 42"}},
		{"CID twice", append([]string{`proc/42/cmdline: qemu\0x,guest-cid=7,y\0`, `proc/43/cmdline: crosvm\0--cid\0`, `proc/44/cmdline: crosvm\0--cid\0` + "7\x00"}, sound...), 3, nil, 0, map[string]string{"guests": "problem processes 42 and 44"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Look(System{
				Root:     machine(tc.files...),
				Family:   func() (int, error) { return 40, nil },
				LocalCID: func() (uint32, error) { return tc.cid, tc.err },
			})
			all := Diagnose(f, tc.wanted)
			var problems bool
			for _, got := range all {
				state, part, _ := strings.Cut(tc.want[got.Check], " ")
				if state == "" {
					state = OK
				}
				problems = problems || state == Problem
				if text := got.Text + " " + got.Remedy; got.State != state || !strings.Contains(text, part) {
					t.Errorf("%+v, want %q", got, tc.want[got.Check])
				}
				if (got.State == OK) != (got.Remedy == "") {
					t.Errorf("%+v: a remedy belongs to what is wrong", got)
				}
				delete(tc.want, got.Check)
			}
			if len(tc.want) > 0 {
				t.Errorf("not checked: %v", tc.want)
			}
			if Sound(all) == problems {
				t.Errorf("Sound is %v", !problems)
			}
		})
	}
}

func TestNoFamily(t *testing.T) {
	f := Look(System{
		Root:     os.DirFS(t.TempDir()),
		Family:   func() (int, error) { return 0, vsock.ErrNotSupported },
		LocalCID: func() (uint32, error) { return 0, vsock.ErrNotSupported },
	})
	if all := Diagnose(f, 0); len(all) != 1 || all[0].State != Problem || !strings.Contains(all[0].Remedy, "switch:") {
		t.Errorf("%+v", all)
	}
}

// blocked is a stack that makes no sockets.
type blocked struct {
	vsock.Stack
	err error
}

func (b blocked) Socket(vsock.Type) (vsock.Socket, error) { return nil, b.err }

func TestProbe(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	own := uint32(3)
	look := func() Facts { return Facts{Family: 40, CID: &own} }
	find := func(f Facts, check string) Finding {
		for _, x := range Diagnose(f, 0) {
			if x.Check == check {
				return x
			}
		}
		return Finding{}
	}
	f := look()
	f.Probe(sw.Host())
	if got := find(f, "loopback"); got.State != OK {
		t.Errorf("%+v", got)
	}
	if got := find(f, "sockets"); got.State != Problem || !strings.Contains(got.Text, "local CID") {
		t.Errorf("CID 3 is not the host's: %+v", got)
	}
	for err, want := range map[error]string{syscall.EPERM: "seccomp profile", syscall.EAFNOSUPPORT: "RestrictAddressFamilies", syscall.EMFILE: "modprobe"} {
		f := look()
		f.Probe(blocked{err: err})
		if got := find(f, "sockets"); got.State != Problem || !strings.Contains(got.Remedy, want) {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// FuzzLook gives it files that say anything.
func FuzzLook(f *testing.F) {
	f.Add("Seccomp:\t2\nCapEff:\tzz", "flags: hypervisor", "qemu\x00guest-cid=4294967296", "blacklist\ninstall vsock")
	f.Fuzz(func(_ *testing.T, status, cpu, cmdline, conf string) {
		facts := Look(System{
			Root: fstest.MapFS{
				"proc/self/status": {Data: []byte(status)}, "proc/cpuinfo": {Data: []byte(cpu)},
				"proc/9/cmdline": {Data: []byte(cmdline)}, "etc/modprobe.d/a.conf": {Data: []byte(conf)},
			},
			Family:   func() (int, error) { return 40, nil },
			LocalCID: func() (uint32, error) { return 0, fs.ErrNotExist },
		})
		Diagnose(facts, 3)
	})
}
