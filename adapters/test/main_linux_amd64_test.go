package test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vswitch"
)

const (
	guestCID = 3

	// group has the guest, and others that may reach it.
	group = "test"

	// guestTimeLimit is for a test, in which the guest boots in 2 s.
	guestTimeLimit = 2 * time.Minute
)

// buildDir has the programs for guests. TestMain makes it.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vsockets-adapters-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	leaktest.Main(m, func() { os.RemoveAll(dir) })
}

var initProgram = sync.OnceValues(func() (string, error) {
	return testguest.Build(context.Background(), buildDir, testguest.InitPackage)
})

// boot boots a guest at a switch of its own. Its kernel has the loopback as well.
func boot(t *testing.T) (*vswitch.Switch, *testguest.Guest) {
	t.Helper()
	testguest.Require(t)
	init, err := initProgram()
	if err != nil {
		t.Fatal(err)
	}
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: guestCID, Socket: socket, Groups: []string{group}}); err != nil {
		t.Fatal(err)
	}
	// Not the test's context: that ends before the guest is powered off.
	g, err := testguest.Boot(context.Background(), testguest.Config{
		Init: init, Device: socket, Loopback: true, TimeLimit: guestTimeLimit,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return sw, g
}

// build builds the program of a package, for a guest.
func build(t *testing.T, pkg string) (path string) {
	t.Helper()
	path, err := testguest.Build(t.Context(), t.TempDir(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// serve starts a server in the guest, which lives until the end of the test, and
// returns when its output has what is awaited.
func serve(t *testing.T, g *testguest.Guest, awaited, path string, args ...string) {
	t.Helper()
	out := &output{awaited: awaited, seen: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exit, err := g.Run(ctx, testguest.Command{Path: path, Args: args, Stdout: out, Stderr: out})
		if ctx.Err() == nil {
			t.Errorf("%s %q ended: exit status %d, %v: %s", filepath.Base(path), args, exit, err, out)
		}
	}()
	t.Cleanup(func() { stop(); <-ended })
	select {
	case <-out.seen:
	case <-ended:
		t.FailNow()
	case <-t.Context().Done(): // of the test's own time limit
		t.FailNow()
	}
}

// output is what a server says.
type output struct {
	mu      sync.Mutex
	text    strings.Builder
	awaited string
	seen    chan struct{} // closed when it has been said
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if o.awaited != "" && strings.Contains(o.text.String(), o.awaited) {
		o.awaited = ""
		close(o.seen)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
