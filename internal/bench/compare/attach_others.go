//go:build !linux

package compare

import (
	"context"
	"errors"
	"fmt"

	"vsockets.dev/vsock"
)

func linuxTransports() []transport { return nil }

func newDevice(d Device) (transport, error) {
	return nil, fmt.Errorf("compare: device %s: %w", d.Name, errNoAttach)
}

var errNoAttach = fmt.Errorf("attaching by shared memory is for Linux only: %w", errors.ErrUnsupported)

type attached interface {
	vsock.Stack
	Close() error
}

func attachTo(context.Context, Place) (attached, error) { return nil, errNoAttach }
