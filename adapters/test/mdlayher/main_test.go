package mdlayher_test

import (
	"os"
	"testing"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/testguest/guest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// requireGuest is the first call of each test: on the machine itself CID 1 and 2 reach a
// hypervisor that is none of theirs.
func requireGuest(t *testing.T) {
	t.Helper()
	if os.Getenv(guest.EnvGuest) != "1" {
		t.Skipf("run in a guest only, where %s=1: TestMdlayher does that", guest.EnvGuest)
	}
}
