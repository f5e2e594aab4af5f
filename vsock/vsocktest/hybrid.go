package vsocktest

import "vsockets.dev/vsock"

// Hybrid are the traits of a client of the Unix-socket protocol, package hybrid: what
// that protocol does not carry.
func Hybrid() Traits {
	return Traits{
		NoDatagrams:       vsock.ErrNotSupported,
		NoSeqpacketSocket: vsock.ErrNotSupported,
		NoNegotiation:     true,
		Relayed:           true,
		NoUnsent:          vsock.ErrNotSupported,
		NoLocal:           true,
		NoBoundConnect:    vsock.ErrNotSupported,
		NoPeerPort:        true,
		ResetIsEOF:        true,
		NoHangup:          true,
		UnreadResets:      true,
	}
}
