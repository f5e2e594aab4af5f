package vswitch

import (
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/net/nettest"

	"vsockets.dev/internal/attach"
)

// joinSwitch joins a context to a switch the way a separate process does, and gives the
// socket that it joined by, too.
func joinSwitch(t testing.TB, sw *Switch, c AttachConfig) (*attach.Stack, *Attach, error) {
	t.Helper()
	c.Socket = filepath.Join(t.TempDir(), "s")
	a, err := sw.AddAttach(c)
	if err != nil {
		return nil, nil, err
	}
	s, err := attach.Dial(t.Context(), c.Socket)
	return s, a, err
}

func TestNetAttached(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		sw := New(Config{})
		a, _, err := joinSwitch(t, sw, AttachConfig{})
		if err != nil {
			_ = sw.Close()
			return nil, nil, nil, err
		}
		c1, c2, err = connect(t, sw, from(t, a))
		return c1, c2, func() { _ = a.Close(); _ = sw.Close() }, err
	})
}
