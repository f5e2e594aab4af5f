package vsock

import (
	"errors"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// xnu's vSockets have no options of their own, so these are the ones of all sockets.

func setKernelOption(fd int, o Option, v uint64) error {
	switch o {
	case ReceiveLowWater:
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, int(min(v, math.MaxInt32)))
	case PendingError, Unread, Unsent:
		return syscall.EINVAL // read only
	}
	return ErrNotSupported
}

func kernelOption(fd int, o Option) (uint64, error) {
	switch o {
	case ReceiveLowWater:
		return unsigned(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT))
	case PendingError:
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		var errno syscall.Errno
		errors.As(connectErrno(syscall.Errno(v)), &errno)
		return uint64(errno), err
	case Unread:
		return unsigned(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NREAD))
	case Unsent:
		return unsigned(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE))
	}
	return 0, ErrNotSupported
}
