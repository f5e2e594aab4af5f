package hyperv

import (
	"testing"

	"github.com/Microsoft/go-winio"
	"github.com/Microsoft/go-winio/pkg/guid"

	"vsockets.dev/vsock"
)

// TestWinio holds the GUIDs against those of go-winio, which has them for Windows only.
func TestWinio(t *testing.T) {
	for _, tc := range []struct{ ours, theirs guid.GUID }{
		{Wildcard, winio.HvsockGUIDWildcard()},
		{Loopback, winio.HvsockGUIDLoopback()},
		{Parent, winio.HvsockGUIDParent()},
		{Children, winio.HvsockGUIDChildren()},
		{ServiceID(0), winio.VsockServiceID(0)},
		{ServiceID(0x12345678), winio.VsockServiceID(0x12345678)},
	} {
		if tc.ours != tc.theirs {
			t.Errorf("%v, go-winio has %v", tc.ours, tc.theirs)
		}
	}
}

// TestFamily: the stack is Winsock's, and not the one that says no.
func TestFamily(t *testing.T) {
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.(none); ok {
		t.Fatal("package vsock does not give Winsock's stack")
	}
	if _, err := s.Socket(vsock.Stream); err != nil {
		t.Skipf("no Hyper-V here: %v", err)
	}
}
