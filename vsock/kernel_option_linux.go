package vsock

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelOptions are the options whose value is a plain u64. The kernel may not
// have all of them: VMCI's own are gone from newer ones.
var kernelOptions = map[Option]int{
	BufferSize:    unix.SO_VM_SOCKETS_BUFFER_SIZE,
	BufferMinSize: unix.SO_VM_SOCKETS_BUFFER_MIN_SIZE,
	BufferMaxSize: unix.SO_VM_SOCKETS_BUFFER_MAX_SIZE,
	PeerHostVMID:  unix.SO_VM_SOCKETS_PEER_HOST_VM_ID,
	Trusted:       unix.SO_VM_SOCKETS_TRUSTED,
	NonblockTxRx:  unix.SO_VM_SOCKETS_NONBLOCK_TXRX,
}

func setKernelOption(fd int, o Option, v uint64) error {
	switch o {
	case ConnectTimeout:
		if v > math.MaxInt64 {
			return syscall.ERANGE
		}
		tv := unix.NsecToTimeval(int64(v))
		return unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv)
	case ReceiveLowWater:
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, int(min(v, math.MaxInt32)))
	case PendingError, Unread, Unsent:
		return syscall.EINVAL // read only
	}
	opt, ok := kernelOptions[o]
	if !ok {
		return ErrNotSupported
	}
	return unix.SetsockoptUint64(fd, unix.AF_VSOCK, opt, v)
}

func kernelOption(fd int, o Option) (uint64, error) {
	switch o {
	case ConnectTimeout:
		tv, err := unix.GetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT)
		if err != nil {
			return 0, err
		}
		return uint64(tv.Nano()), nil
	case ReceiveLowWater:
		return unsigned(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT))
	case PendingError:
		return unsigned(unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR))
	case Unread:
		return unsigned(unix.IoctlGetInt(fd, unix.TIOCINQ)) // SIOCINQ is the same number
	case Unsent:
		return unsigned(unix.IoctlGetInt(fd, unix.TIOCOUTQ))
	}
	opt, ok := kernelOptions[o]
	if !ok {
		return 0, ErrNotSupported
	}
	return unix.GetsockoptUint64(fd, unix.AF_VSOCK, opt)
}
