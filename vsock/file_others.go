//go:build !linux && !darwin

package vsock

import "os"

func fileSocket(*os.File) (Socket, error) { return nil, ErrNotSupported }

func fileListens(Socket) bool { return false }

func takeListener(uintptr) (*Listener, error) { return nil, ErrNotSupported }
