//go:build !linux

package hybrid

import "vsockets.dev/vsock"

func (st *Stack) newSocket() (vsock.Socket, error) { return nil, vsock.ErrNotSupported }
