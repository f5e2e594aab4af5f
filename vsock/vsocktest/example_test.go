package vsocktest_test

import (
	"io"
	"testing"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

// A client in the guest is tried against a server at the host, and must find out
// that its connection is gone.
func ExampleNewPair() {
	_ = func(t *testing.T) { // a test of yours
		n := vsocktest.NewPair(t)
		ln, err := vsock.Listen(t.Context(), n.Host, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := vsock.Dial(t.Context(), n.Guest, vsock.Addr{CID: vsock.CIDHost, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ln.Accept(); err != nil {
			t.Fatal(err)
		}
		n.Reset()
		if _, err := io.ReadAll(conn); err == nil {
			t.Error("the reset went unnoticed")
		}
	}
}

// A stack of one's own is held against the suite.
func ExampleTestStack() {
	_ = func(t *testing.T) { // a test of yours
		vsocktest.TestStack(t, func(t *testing.T) vsocktest.Pair {
			n := vsocktest.NewPair(t)
			return vsocktest.Pair{
				A: vsocktest.End{Stack: n.Host, CID: vsock.CIDHost},
				B: vsocktest.End{Stack: n.Guest, CID: vsocktest.GuestCID},
			}
		})
	}
}
