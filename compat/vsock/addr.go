package vsock

import (
	"fmt"
	"net"

	"vsockets.dev/vsock"
)

// Context IDs with a meaning of their own. They are constants without a type, so that
// they go wherever a program has put them.
const (
	// Hypervisor is the hypervisor itself. A program that runs on the host is at Host.
	Hypervisor = 0x0

	// Local is the machine itself.
	Local = 0x1

	// Host is the host, as its guests see it.
	Host = 0x2
)

// An Addr is the address of a socket. *Addr is a net.Addr.
type Addr struct {
	ContextID, Port uint32
}

var _ net.Addr = (*Addr)(nil)

// Network is "vsock".
func (*Addr) Network() string { return network }

// String gives the address for people to read: "vm(3):1024", with hypervisor, local or
// host in place of vm for those.
func (a *Addr) String() string {
	kind := "vm"
	switch a.ContextID {
	case Hypervisor:
		kind = "hypervisor"
	case Local:
		kind = "local"
	case Host:
		kind = "host"
	}
	return fmt.Sprintf("%s(%d):%d", kind, a.ContextID, a.Port)
}

func fromAddr(a vsock.Addr) *Addr { return &Addr{ContextID: a.CID, Port: a.Port} }
