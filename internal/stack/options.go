package stack

import (
	"math"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// maxBuffer is the largest receive buffer of a connection, whatever the 64-bit
// option says: a packet's buf_alloc has 32 bits, and a buffer must fit an int.
const maxBuffer = 1 << 30

// options are the socket options of the vSockets guide.
type options struct {
	size, min, max uint64
	chosen         bool // size was set, it is not the default
	timeout        time.Duration
	lowWater       uint64
}

func defaultOptions() options {
	return options{
		size:    vsock.DefaultBufferSize,
		min:     vsock.DefaultBufferMinSize,
		max:     vsock.DefaultBufferMaxSize,
		timeout: vsock.DefaultConnectTimeout,

		lowWater: 1,
	}
}

// set is setsockopt. A size is clamped to the limits, and follows them when they
// move; where they cross, the maximum holds. So does Linux in
// vsock_update_buffer_size.
func (o *options) set(opt vsock.Option, v uint64) error {
	switch opt {
	case vsock.BufferSize:
		o.size, o.chosen = v, true
	case vsock.BufferMinSize:
		o.min = v
	case vsock.BufferMaxSize:
		o.max = v
	case vsock.ReceiveLowWater:
		o.lowWater = max(v, 1)
	case vsock.ConnectTimeout:
		if v > math.MaxInt64 {
			return syscall.ERANGE
		}
		if o.timeout = time.Duration(v); v == 0 { // as Linux has it
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

// bufAlloc is the size of a connection's receive buffer as packets announce it.
func (o *options) bufAlloc() uint32 { return uint32(min(o.size, maxBuffer)) }

// allows says whether a size that the peer proposes is within the limits.
func (o *options) allows(proposed uint32) bool {
	return uint64(proposed) >= o.min && uint64(proposed) <= o.max
}
