package test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

const (
	guestCID = 3

	// guestTimeLimit is for a test, in which the guest boots in 2 s.
	guestTimeLimit = 2 * time.Minute

	// amount is how many bytes are sent each way.
	amount = 4 << 20
)

// buildDir has the programs for guests. TestMain makes it.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vsockets-test-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	leaktest.Main(m, func() { os.RemoveAll(dir) })
}

var initProgram = sync.OnceValues(func() (string, error) {
	return testguest.Build(context.Background(), buildDir, "vsockets.dev/internal/guestpeer/guestinit")
})

// boot boots a guest at a switch of its own.
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
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: guestCID, Socket: socket}); err != nil {
		t.Fatal(err)
	}
	// Not the test's context: that ends before the guest is powered off.
	g, err := testguest.Boot(context.Background(), testguest.Config{Init: init, Device: socket, TimeLimit: guestTimeLimit})
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

// caller runs commands of a guestpeer.Peer.
type caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

// serve has a service of package guestpeer listen.
func serve(t *testing.T, c caller, service string) (port uint32) {
	t.Helper()
	var a vsock.Addr
	if err := c.Call(t.Context(), guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: service}, &a); err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// program is a program that runs in the guest.
type program struct {
	*testing.T
	path  string
	ended chan struct{}

	mu             sync.Mutex
	stdout, stderr strings.Builder
	awaited        string
	seen           chan struct{} // closed when stderr holds what is awaited
}

// start starts a program in the guest. Its standard error must come to hold what is
// awaited, if that is anything.
func start(t *testing.T, g *testguest.Guest, awaited, path string, args ...string) *program {
	t.Helper()
	p := &program{T: t, path: path, ended: make(chan struct{}), awaited: awaited, seen: make(chan struct{})}
	go func() {
		defer close(p.ended)
		exit, err := g.Run(t.Context(), testguest.Command{Path: path, Args: args, Stdout: output{p, &p.stdout}, Stderr: output{p, &p.stderr}})
		if exit != 0 || err != nil {
			t.Errorf("%s %q: exit status %d, %v: %s", path, args, exit, err, &p.stderr)
		}
	}()
	if awaited == "" {
		return p
	}
	select {
	case <-p.seen:
	case <-p.ended:
		t.Fatalf("%s has ended, and did not say %q", path, awaited)
	}
	return p
}

// wait gives what the program wrote to its standard output by its end.
func (p *program) wait() string {
	<-p.ended
	return p.stdout.String()
}

// output is where the program writes to.
type output struct {
	p  *program
	to *strings.Builder
}

func (o output) Write(b []byte) (int, error) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	n, err := o.to.Write(b)
	if o.p.awaited != "" && strings.Contains(o.p.stderr.String(), o.p.awaited) {
		o.p.awaited = ""
		close(o.p.seen)
	}
	return n, err
}
