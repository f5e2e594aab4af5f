package guests

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vswitch"
)

const (
	// CID is the guest's of a bed.
	CID = 3

	// RefusedWithin is how soon a connection is refused. It is far below the connect timeout
	// of 2 s, which a guest would wait for if nobody answered it.
	RefusedWithin = 50 * time.Millisecond

	// timeLimit is for a guest, from its boot on, unless a test has another.
	timeLimit = 5 * time.Minute
)

// buildDir is where the guests' program is built.
var buildDir string

var initProgram = sync.OnceValues(func() (string, error) {
	return testguest.Build(context.Background(), buildDir, "vsockets.dev/internal/guestpeer/guestinit")
})

// Main is what TestMain calls.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "guests-test-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	leaktest.Main(m, func() { _ = os.RemoveAll(dir) })
}

// Bed is a switch with a real guest.
type Bed struct {
	Switch *vswitch.Switch
	Device *vswitch.Guest // the switch's side of the guest
	Socket string         // by which the guest joins
	Guest  *testguest.Guest
	Host   *guestpeer.Peer // does on the host what the guest's agent does there
}

// NewBed boots a guest as c says, which leaves out what every bed has.
func NewBed(t *testing.T, c testguest.Config) *Bed {
	t.Helper()
	c.Machine.Require(t)
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	b := &Bed{Switch: sw}
	b.Device, b.Socket = Add(t, sw, CID)
	c.Device = b.Socket
	b.Guest = Boot(t, CID, c)
	b.Host = guestpeer.New(sw.Host())
	t.Cleanup(func() { _ = b.Host.Close() })
	return b
}

// Add makes a place for a guest at a switch.
func Add(t *testing.T, sw *vswitch.Switch, cid uint32, groups ...string) (device *vswitch.Guest, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	device, err := sw.AddGuest(vswitch.GuestConfig{CID: cid, Socket: socket, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return device, socket
}

// Info is what a switch tells of a context; zero if there is none of that CID.
func Info(sw *vswitch.Switch, cid uint32) (info vswitch.Info) {
	for _, i := range sw.Contexts() {
		if i.CID == cid {
			info = i
		}
	}
	return info
}

// Boot boots a guest, which must find that it has the CID.
func Boot(t *testing.T, cid uint32, c testguest.Config) *testguest.Guest {
	t.Helper()
	g := TryBoot(t, cid, c)
	if g == nil {
		t.FailNow()
	}
	return g
}

// TryBoot is Boot for any goroutine: if it fails, so does the test, and it gives nil.
func TryBoot(t *testing.T, cid uint32, c testguest.Config) *testguest.Guest {
	t.Helper()
	var err error
	if c.Init, err = initProgram(); err != nil {
		t.Error(err)
		return nil
	}
	if c.TimeLimit == 0 {
		c.TimeLimit = timeLimit
	}
	g, err := testguest.Boot(t.Context(), c)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() {
		// One that a test has killed is no error; one whose time was over tells what hangs.
		_ = g.Close()
		if err := g.Wait(); errors.Is(err, testguest.ErrTimeLimit) {
			t.Error(err)
		}
	})
	if g.CID() != cid {
		t.Errorf("the guest's CID is %d, want %d", g.CID(), cid)
		return nil
	}
	return g
}
