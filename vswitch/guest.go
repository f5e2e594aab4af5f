package vswitch

import "fmt"

// GuestConfig says how a guest is joined.
type GuestConfig struct {
	// CID is the guest's, from 3 on.
	CID uint32

	// Socket is the path of the vhost-user socket that the virtual machine
	// monitor connects to. It is created with mode 0600, in a folder that exists.
	Socket string
}

// String names a guest in errors.
func (g *Guest) String() string { return fmt.Sprintf("guest %d (%s)", g.port.cid, g.config.Socket) }

// CID is the guest's.
func (g *Guest) CID() uint32 { return g.port.cid }
