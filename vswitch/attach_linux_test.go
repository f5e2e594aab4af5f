package vswitch

import (
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/net/nettest"

	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/stack"
)

// attached is a context that is joined the way a separate process is: by a driver
// and shared memory.
type attached struct {
	*stack.Stack
	*driver.Driver
}

func attach(t testing.TB, sw *Switch, cid uint32) (*attached, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddGuest(GuestConfig{CID: cid, Socket: path}); err != nil {
		return nil, err
	}
	d, err := driver.Connect(t.Context(), path)
	if err != nil {
		return nil, err
	}
	st := stack.New(stack.Config{CID: d.CID(), Out: d})
	return &attached{st, d}, d.Start(st)
}

func (a *attached) Close() error {
	_ = a.Stack.Close()
	return a.Driver.Close()
}

func TestNetAttached(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		sw := New(Config{})
		a, err := attach(t, sw, 3)
		if err != nil {
			_ = sw.Close()
			return nil, nil, nil, err
		}
		c1, c2, err = connect(t, sw, from(t, a))
		return c1, c2, func() { _ = a.Close(); _ = sw.Close() }, err
	})
}
