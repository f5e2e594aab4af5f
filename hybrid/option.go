package hybrid

import (
	"math"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// options are those of a socket. The sizes are kept as the guide has them, and
// nothing follows from them.
type options struct {
	size, min, max uint64
	timeout        time.Duration
	lowWater       uint64
}

func defaultOptions() options {
	return options{
		size:     vsock.DefaultBufferSize,
		min:      vsock.DefaultBufferMinSize,
		max:      vsock.DefaultBufferMaxSize,
		timeout:  vsock.DefaultConnectTimeout,
		lowWater: 1,
	}
}

// set is setsockopt. Where the limits of the size cross, the maximum holds.
func (o *options) set(opt vsock.Option, v uint64, connected bool) error {
	switch opt {
	case vsock.ReceiveLowWater:
		o.lowWater = max(v, 1)
		return nil
	case vsock.PendingError, vsock.Unread, vsock.Unsent:
		return syscall.EINVAL // read only
	}
	if connected {
		return syscall.EISCONN
	}
	switch opt {
	case vsock.BufferSize:
		o.size = v
	case vsock.BufferMinSize:
		o.min = v
	case vsock.BufferMaxSize:
		o.max = v
	case vsock.ConnectTimeout:
		if v > math.MaxInt64 {
			return syscall.ERANGE
		}
		if o.timeout = time.Duration(v); v == 0 {
			o.timeout = vsock.DefaultConnectTimeout
		}
	default:
		return vsock.ErrNotSupported
	}
	o.size = min(max(o.size, o.min), o.max)
	return nil
}

func (o *options) get(opt vsock.Option) (uint64, error) {
	switch opt {
	case vsock.BufferSize:
		return o.size, nil
	case vsock.BufferMinSize:
		return o.min, nil
	case vsock.BufferMaxSize:
		return o.max, nil
	case vsock.ConnectTimeout:
		return uint64(o.timeout), nil
	case vsock.ReceiveLowWater:
		return o.lowWater, nil
	}
	return 0, vsock.ErrNotSupported
}
