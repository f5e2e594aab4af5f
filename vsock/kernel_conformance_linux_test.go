package vsock_test

import (
	"testing"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

// TestKernelConformance holds the kernel's stack against the suite, over the
// loopback of the guest that it runs in.
func TestKernelConformance(t *testing.T) {
	requireGuest(t)
	vsocktest.TestStack(t, func(*testing.T) vsocktest.Pair {
		e := vsocktest.End{Stack: vsock.Kernel(), CID: vsock.CIDLocal, Traits: vsocktest.Linux61()}
		return vsocktest.Pair{A: e, B: e}
	})
}
