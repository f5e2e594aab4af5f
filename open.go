// Package vsockets opens vSockets stacks by name. The sockets are those of package
// vsock, the switch is package vswitch.
package vsockets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/attach"
	"vsockets.dev/vsock"
)

// Stack is a stack that was opened, and is to be closed.
type Stack interface {
	vsock.Stack
	io.Closer
}

// ErrURI is what Open's error matches for a text that names no stack.
var ErrURI = errors.New("no stack")

// openTimeout is how long Open waits for a switch. One that serves its socket
// answers at once.
const openTimeout = 10 * time.Second

// Open opens a stack by its URI:
//
//	kernel:        the operating system's own, as vsock.Kernel
//	switch:PATH    a context of its own at the switch that serves the attach socket
//	               PATH, through shared memory. The switch gives the CID. When the
//	               switch ends, connections read ECONNRESET and listeners close.
//	hybrid:PATH    a virtual machine of Firecracker or Cloud Hypervisor, or a guest of
//	               a switch, whose Unix socket is PATH: see hybrid.Stack
//
// Close ends all that the stack's sockets are about; of kernel: it does nothing.
func Open(uri string) (Stack, error) {
	scheme, path, _ := strings.Cut(uri, ":")
	switch {
	case scheme == "kernel" && path == "":
		return kernel{vsock.Kernel()}, nil
	case scheme == "switch" && path != "":
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		return attach.Dial(ctx, path)
	case scheme == "hybrid" && path != "":
		return hybrid.NewStack(path, hybrid.StackConfig{}), nil
	}
	return nil, fmt.Errorf("vsockets: %q is %w: want kernel:, switch:PATH or hybrid:PATH", uri, ErrURI)
}

// kernel is the system's stack, which needs no closing.
type kernel struct{ vsock.Stack }

func (kernel) Close() error { return nil }
