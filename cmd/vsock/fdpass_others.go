//go:build !unix

package main

import (
	"os"

	"vsockets.dev/vsock"
)

func passFile(*os.File, *os.File) error { return vsock.ErrNotSupported }
