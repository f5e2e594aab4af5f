package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"vsockets.dev/vsock"
)

// States of a Finding.
const (
	OK      = "ok"
	Note    = "note"    // it may matter
	Problem = "problem" // it stands in the way
)

// Finding is what the facts mean for one thing that vsock needs.
type Finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Diagnose says what the facts mean. A CID that is not zero is one that a guest of
// this host is to have.
func Diagnose(f Facts, wanted uint32) []Finding {
	all := []Finding{f.family(), f.module()}
	if f.Family == 0 {
		return all[:1]
	}
	all = append(all, f.device(), f.cid(), f.loopback(), f.seccomp(), f.ports())
	if f.CID != nil && *f.CID == vsock.CIDHost {
		all = append(all, f.vhost())
	}
	if len(f.Barred) > 0 {
		all = append(all, Finding{"modprobe", Note, "modprobe is told not to load " + strings.Join(f.Barred, ", "),
			"remove the lines, or load the module by hand with modprobe"})
	}
	if wanted != 0 || len(f.Guests) > 0 {
		all = append(all, f.inUse(wanted))
	}
	return all
}

// Sound says whether nothing stands in the way.
func Sound(all []Finding) bool {
	return !slices.ContainsFunc(all, func(f Finding) bool { return f.State == Problem })
}

func (f Facts) has(module string) bool { return slices.Contains(f.Modules, module) }

func (f Facts) family() Finding {
	if f.Family == 0 {
		return Finding{"family", Problem, "this operating system has no address family of vsock",
			"use a stack in user space: --stack switch:PATH or hybrid:PATH"}
	}
	return Finding{"family", OK, fmt.Sprintf("address family %d", f.Family), ""}
}

func (f Facts) module() Finding {
	if !f.has("vsock") {
		return Finding{"module", Problem, "the kernel module vsock is not loaded",
			"modprobe vsock; where that is not found, install the kernel's extra modules; in a container, load it on the host"}
	}
	return Finding{"module", OK, "vsock " + f.Version, ""}
}

// device judges by what opening /dev/vsock gave.
func (f Facts) device() Finding {
	there := slices.ContainsFunc(f.Devices, func(d Device) bool { return d.Path == "/dev/vsock" })
	switch {
	case f.CID != nil:
		return Finding{"device", OK, "/dev/vsock can be opened", ""}
	case errors.Is(f.Opened, fs.ErrPermission):
		return Finding{"device", Problem, "/dev/vsock is there, but this user may not open it",
			"chmod a+r /dev/vsock, or a rule of udev with MODE=\"0666\"; in a container, allow the device to it"}
	case !there:
		return Finding{"device", Problem, "there is no /dev/vsock",
			"modprobe vsock makes it; a container must be given it (--device /dev/vsock)"}
	}
	return Finding{"device", Problem, "/dev/vsock does not work: " + f.CIDError, "modprobe vsock; see dmesg if that does not help"}
}

func (f Facts) cid() Finding {
	switch {
	case f.CID == nil:
		return Finding{"cid", Problem, "the local CID cannot be known without /dev/vsock", "see above"}
	case *f.CID == vsock.CIDHost:
		return Finding{"cid", OK, "2: this is a host", ""}
	case *f.CID != vsock.CIDAny && *f.CID > vsock.CIDHost:
		return Finding{"cid", OK, fmt.Sprintf("%d: this is a guest", *f.CID), ""}
	}
	what := "the local CID is the wildcard, 4294967295: no way leads to a host or to guests"
	switch {
	case f.Virtio && !f.Bound:
		return Finding{"cid", Problem, what + ", and the machine's virtio device has no driver", "modprobe vmw_vsock_virtio_transport"}
	case f.Guest:
		return Finding{"cid", Problem, what, "give the virtual machine a vsock device (QEMU: -device vhost-vsock-pci,guest-cid=3), then modprobe vmw_vsock_virtio_transport"}
	}
	return Finding{"cid", Problem, what, "on a host, modprobe vhost_vsock; without it, use vsock switch"}
}

func (f Facts) loopback() Finding {
	bad := Finding{"loopback", Note, "CID 1 is not this machine, since the loopback is missing", "modprobe vsock_loopback"}
	if f.Probed != nil && f.Probed.Socket == "" {
		if f.Probed.Loopback != "" {
			bad.Text += ": " + f.Probed.Loopback
			return bad
		}
		return Finding{"loopback", OK, "CID 1 is this machine", ""}
	}
	if !f.has("vsock_loopback") {
		return bad
	}
	return Finding{"loopback", OK, "CID 1 is this machine", ""}
}

func (f Facts) seccomp() Finding {
	switch p := f.Probed; {
	case p == nil && f.Seccomp == "filter":
		return Finding{"sockets", Note, "a seccomp filter is in force, and files do not tell whether it lets vsock through", "doctor --probe tries"}
	case p == nil:
		return Finding{"sockets", OK, "no seccomp filter is in force", ""}
	case p.blocked:
		return Finding{"sockets", Problem, "sockets of the family cannot be made: " + p.Socket,
			"a filter blocks the family: allow AF_VSOCK in the container's seccomp profile, or in the unit's RestrictAddressFamilies="}
	case p.Socket != "":
		return Finding{"sockets", Problem, "sockets of the family cannot be made: " + p.Socket, "modprobe vsock"}
	case p.Bind != "":
		return Finding{"sockets", Problem, "a socket cannot be bound: " + p.Bind, "see the security module's log (SELinux, AppArmor)"}
	case p.Own != "":
		return Finding{"sockets", Problem, "a socket cannot be bound to the local CID: " + p.Own, "the transport is going or coming; run it again"}
	}
	return Finding{"sockets", OK, "sockets can be made and bound", ""}
}

func (f Facts) ports() Finding {
	if f.LowPorts {
		return Finding{"ports", OK, "all ports may be listened on", ""}
	}
	return Finding{"ports", Note, "ports below 1024 may not be listened on", "use ports from 1024 on, or CAP_NET_BIND_SERVICE"}
}

// vhost is for hosts, whose virtual machine monitors open the device.
func (f Facts) vhost() Finding {
	for _, d := range f.Devices {
		if d.Path == "/dev/vhost-vsock" {
			return Finding{"vhost", OK, "/dev/vhost-vsock is there, with mode " + d.Mode, ""}
		}
	}
	return Finding{"vhost", Problem, "there is no /dev/vhost-vsock for virtual machines", "modprobe vhost_vsock; without the right to, use vsock switch and vhost-user"}
}

// inUse looks for a CID among the virtual machines of this host.
func (f Facts) inUse(wanted uint32) Finding {
	if wanted != 0 && (wanted <= vsock.CIDHost || wanted == vsock.CIDAny) {
		return Finding{"guests", Problem, fmt.Sprintf("CID %d is reserved", wanted), "use one from 3 on"}
	}
	byCID := make(map[uint32]int)
	var twice, list []string
	for _, g := range f.Guests {
		if pid := byCID[g.CID]; pid != 0 {
			twice = append(twice, fmt.Sprintf("CID %d (processes %d and %d)", g.CID, pid, g.PID))
		}
		byCID[g.CID] = g.PID
		list = append(list, fmt.Sprintf("%d (process %d)", g.CID, g.PID))
	}
	switch {
	case wanted != 0 && byCID[wanted] != 0:
		return Finding{"guests", Problem, fmt.Sprintf("CID %d is that of process %d", wanted, byCID[wanted]), "choose another, or stop that virtual machine"}
	case len(twice) > 0:
		return Finding{"guests", Problem, "two guests have the same " + strings.Join(twice, ", "), "give each a CID of its own: the second one has no vsock"}
	case len(list) == 0:
		return Finding{"guests", OK, fmt.Sprintf("CID %d is free, as far as this user can see", wanted), ""}
	}
	return Finding{"guests", OK, "CIDs of guests: " + strings.Join(list, ", "), ""}
}
