package vswitch

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"vsockets.dev/vsock"
)

func TestNetInProcess(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		sw := New(Config{})
		ctx, err := sw.AddContext(3)
		if err != nil {
			return nil, nil, nil, err
		}
		ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
		if err != nil {
			return nil, nil, nil, err
		}
		c1, err = vsock.Dial(t.Context(), ctx, ln.Addr().(vsock.Addr))
		if err != nil {
			return nil, nil, nil, err
		}
		c2, err = ln.Accept()
		return c1, c2, func() { _ = sw.Close() }, err
	})
}
