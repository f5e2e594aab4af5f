package vswitch

import (
	"fmt"
	"net"
)

// GuestConfig says how a guest is joined.
type GuestConfig struct {
	// CID is the guest's, from 3 on.
	CID uint32

	// Socket is the path of the vhost-user socket that the virtual machine
	// monitor connects to. It is created with mode 0600, in a folder that exists.
	Socket string

	// Listener, if there is one, is that socket, made by someone else: systemd's
	// socket activation. Socket is then its name only.
	Listener *net.UnixListener

	// Hybrid is the path of a Unix socket for clients that speak the protocol of
	// Firecracker and Cloud Hypervisor, see package hybrid: they reach the guest's
	// ports by it, and the guest reaches the Unix socket Hybrid_P by port P of the
	// host where nobody else listens. Empty: none.
	Hybrid string

	// Groups are those that the guest is in, see Policy.
	Groups []string

	// Limits are what it may take of the switch.
	Limits Limits
}

// CID is the guest's.
func (g *Guest) CID() uint32 { return g.port.cid.Load() }

// String names a guest in errors.
func (g *Guest) String() string { return describe(KindGuest, g.CID(), g.config.Socket) }

// SetGroups changes the groups that the guest is in.
func (g *Guest) SetGroups(groups []string) error { return g.port.changeGroups(groups) }

// SetLimits changes what the guest may take. What it has already it keeps.
func (g *Guest) SetLimits(l Limits) error { return g.port.setLimits(l) }

// describe names a guest or an attached process in errors.
func describe(kind string, cid uint32, socket string) string {
	return fmt.Sprintf("%s %d (%s)", kind, cid, socket)
}
