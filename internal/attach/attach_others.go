//go:build !linux

package attach

import (
	"context"
	"fmt"

	"vsockets.dev/vsock"
)

// Stack is the context: on Linux only.
type Stack struct{}

// Dial needs vhost-user, which this system does not have.
func Dial(_ context.Context, path string) (*Stack, error) {
	return nil, fmt.Errorf("attach to %s: vhost-user needs Linux: %w", path, vsock.ErrNotSupported)
}

// Socket creates no socket.
func (s *Stack) Socket(vsock.Type) (vsock.Socket, error) { return nil, vsock.ErrNotSupported }

// LocalCID is none.
func (s *Stack) LocalCID() (uint32, error) { return 0, vsock.ErrNotSupported }

// Done is never closed.
func (s *Stack) Done() <-chan struct{} { return nil }

// Close does nothing.
func (s *Stack) Close() error { return vsock.ErrNotSupported }
