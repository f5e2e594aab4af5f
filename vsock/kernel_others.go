//go:build !linux

package vsock

type kernelStack struct{}

func (kernelStack) Socket(Type) (Socket, error) { return nil, ErrNotSupported }

func (kernelStack) LocalCID() (uint32, error) { return 0, ErrNotSupported }
