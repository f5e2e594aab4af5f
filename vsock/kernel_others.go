//go:build !linux && !darwin && !windows

package vsock

import (
	"fmt"
	"runtime"
)

var errNoKernelStack = fmt.Errorf("vsock: %s has no vSockets of its own; a stack in user space works, such as a context of a vswitch: %w", runtime.GOOS, ErrNotSupported)

type kernelStack struct{}

func (kernelStack) Socket(Type) (Socket, error) { return nil, errNoKernelStack }

func (kernelStack) LocalCID() (uint32, error) { return 0, errNoKernelStack }

func addressFamily() (int, error) { return 0, errNoKernelStack }

func systemVersion() (uint32, error) { return 0, errNoKernelStack }
