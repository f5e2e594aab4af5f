package vsocktest

import (
	"syscall"

	"vsockets.dev/vsock"
)

// Linux61 are the traits of the kernel's own stack in Linux 6.1, over virtio and
// over its loopback.
func Linux61() Traits {
	return Traits{
		NoDatagrams:          vsock.ErrNotSupported, // only VMCI's transport has them
		BufferSize:           262144,
		NoNegotiation:        true,
		LateOptions:          true,
		NoUnread:             vsock.ErrNotSupported, // since 6.17
		NoUnsent:             vsock.ErrNotSupported, // since 6.14
		BacklogExtra:         1,
		ConnectAny:           syscall.ECONNRESET,
		NoReconnect:          syscall.EALREADY,
		ResetIsEOF:           true,
		OrderlyListenerClose: true,
		NoHangup:             true,
		ShutdownForgetsPeer:  true,
		NoEmptyMessages:      vsock.ErrNotSupported,
		MessageWaits:         true,
		NoMessagePeek:        syscall.ENOMEM, // since 6.6
	}
}
