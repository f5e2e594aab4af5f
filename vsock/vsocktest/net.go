package vsocktest

import (
	"sync/atomic"
	"testing"
	"time"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// GuestCID is the CID of a Net's Guest.
const GuestCID uint32 = 3

// Net is two contexts in this program that reach each other, as a host and its
// virtual machine do. Each is a stack with ports of its own. Faults can be put in
// from any goroutine.
type Net struct {
	Host  vsock.Stack // CID 2
	Guest vsock.Stack // CID GuestCID

	t     testing.TB
	sw    *vswitch.Switch
	guest machine
}

// NewPair makes a Net for a test. When the test ends, all of its sockets end too.
func NewPair(t testing.TB) *Net {
	t.Helper()
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	n := &Net{Host: sw.Host(), t: t, sw: sw}
	n.Guest = &n.guest
	n.start()
	return n
}

func (n *Net) start() {
	n.t.Helper()
	c, err := n.sw.AddContext(vswitch.ContextConfig{CID: GuestCID})
	if err != nil {
		n.t.Fatal(err)
	}
	n.guest.now.Store(c)
}

// Drop takes the guest away, as a machine that loses power: the host's connections
// to it are reset and new ones refused, and the guest's own sockets fail.
func (n *Net) Drop() {
	n.t.Helper()
	if err := n.guest.now.Load().Close(); err != nil {
		n.t.Fatal(err)
	}
}

// Restart brings a guest back that was dropped. It has its CID again, and none of
// its sockets.
func (n *Net) Restart() {
	n.t.Helper()
	n.start()
}

// Reset resets all connections, as a machine does that is reset: it is a Drop and
// a Restart. Listeners at the host stay, those at the guest are closed with it.
func (n *Net) Reset() {
	n.t.Helper()
	n.Drop()
	n.Restart()
}

// Delay makes each packet, either way, arrive so much later, from now on and until
// the guest is dropped. 0 is no delay.
func (n *Net) Delay(d time.Duration) {
	n.sw.Host().SetDelay(d)
	n.guest.now.Load().SetDelay(d)
}

// machine is the guest's stack, whichever context it has just now.
type machine struct {
	now atomic.Pointer[vswitch.Context]
}

func (m *machine) Socket(t vsock.Type) (vsock.Socket, error) { return m.now.Load().Socket(t) }

func (m *machine) LocalCID() (uint32, error) { return m.now.Load().LocalCID() }
