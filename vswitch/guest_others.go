//go:build !linux

package vswitch

import (
	"fmt"

	"vsockets.dev/vsock"
)

// Guest is a virtual machine that is joined to a switch: on Linux only.
type Guest struct {
	config GuestConfig
	port   *port
}

// AddGuest needs vhost-user, which this system does not have.
func (sw *Switch) AddGuest(c GuestConfig) (*Guest, error) {
	return nil, fmt.Errorf("vswitch: guest %d: vhost-user needs Linux: %w", c.CID, vsock.ErrNotSupported)
}

// SetCID changes nothing, since no guest can be added.
func (g *Guest) SetCID(uint32) (later bool, err error) { return false, vsock.ErrNotSupported }

// Counters counts the guest's packets that were not passed on.
func (g *Guest) Counters() Counters { return g.port.counters.read() }

// Close ends nothing, since no guest can be added.
func (g *Guest) Close() error { return vsock.ErrNotSupported }

// Attach is a socket at which processes join the switch: on Linux only.
type Attach struct{ config AttachConfig }

// AddAttach needs vhost-user, which this system does not have.
func (sw *Switch) AddAttach(c AttachConfig) (*Attach, error) {
	return nil, fmt.Errorf("vswitch: attach socket %s: vhost-user needs Linux: %w", c.Socket, vsock.ErrNotSupported)
}

// Close ends nothing, since no process can attach.
func (a *Attach) Close() error { return vsock.ErrNotSupported }
