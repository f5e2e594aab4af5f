//go:build !linux

package vsock

func addressFamily() (int, error) { return 0, ErrNotSupported }

func systemVersion() (uint32, error) { return 0, ErrNotSupported }
