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

// Counters counts the guest's packets that were not passed on.
func (g *Guest) Counters() Counters { return g.port.counters() }

// Close ends nothing, since no guest can be added.
func (g *Guest) Close() error { return vsock.ErrNotSupported }
