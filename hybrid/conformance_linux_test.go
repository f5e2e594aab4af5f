package hybrid

import (
	"testing"
	"time"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

// hostTraits are what the protocol does to the host's end of a pair.
var hostTraits = vsocktest.Traits{
	NoDatagrams:          vsock.ErrNotSupported,
	NoSeqpacketSocket:    vsock.ErrNotSupported,
	NoNegotiation:        true,
	Relayed:              true,
	NoUnsent:             vsock.ErrNotSupported,
	NoLocal:              true,
	NoBoundConnect:       vsock.ErrNotSupported,
	NoPeerPort:           true,
	ResetIsEOF:           true,
	NoHangup:             true,
	OrderlyListenerClose: true,
}

// TestConformance holds the Stack and the Server together against the suite: from
// the host to a guest.
func TestConformance(t *testing.T) {
	vsocktest.TestStack(t, func(t *testing.T) vsocktest.Pair {
		b := newBed(t, ServerConfig{DialTimeout: time.Minute})
		return vsocktest.Pair{
			A:      vsocktest.End{Stack: b.stack, CID: vsock.CIDHost, Traits: hostTraits},
			B:      vsocktest.End{Stack: b.guest, CID: guestCID},
			Silent: &vsock.Addr{CID: guestCID, Port: silentPort},
			Vanish: func() {
				if err := b.guest.Close(); err != nil {
					t.Error(err)
				}
			},
		}
	})
}

// TestConformanceReverse holds them against the suite from a guest to the host, where
// a Stack listens.
func TestConformanceReverse(t *testing.T) {
	vsocktest.TestStack(t, func(t *testing.T) vsocktest.Pair {
		guest, b := newForwardBed(t, ServerConfig{})
		return vsocktest.Pair{
			A: vsocktest.End{Stack: guest, CID: guestCID},
			B: vsocktest.End{Stack: b.stack, CID: vsock.CIDHost, Traits: hostTraits},
		}
	})
}
