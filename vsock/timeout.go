package vsock

import (
	"context"
	"math"
	"syscall"
	"time"
)

// connectTimeout reads the value of the option ConnectTimeout, of which 0 is the
// default.
func connectTimeout(v uint64) time.Duration {
	if v == 0 {
		return DefaultConnectTimeout
	}
	return time.Duration(min(v, math.MaxInt64))
}

// withConnectTimeout is for systems whose connect has no timeout, or one of its own.
// The context's cause is ETIMEDOUT when it passes.
func withConnectTimeout(ctx context.Context, v uint64) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, connectTimeout(v), syscall.ETIMEDOUT)
}
