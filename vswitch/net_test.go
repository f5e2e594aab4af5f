package vswitch

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"vsockets.dev/vsock"
)

// connect gives the two ends of a connection: what dial connects to an address of
// the host, and what the host accepts there.
func connect(t testing.TB, sw *Switch, dial func(vsock.Addr) (net.Conn, error)) (net.Conn, net.Conn, error) {
	t.Helper()
	ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	c1, err := dial(ln.Addr().(vsock.Addr))
	if err != nil {
		return nil, nil, err
	}
	c2, err := ln.Accept()
	return c1, c2, err
}

// from dials from a stack.
func from(t testing.TB, s vsock.Stack) func(vsock.Addr) (net.Conn, error) {
	return func(a vsock.Addr) (net.Conn, error) { return vsock.Dial(t.Context(), s, a) }
}

func TestNetInProcess(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		sw := New(Config{})
		ctx, err := sw.AddContext(ContextConfig{CID: 3})
		if err != nil {
			return nil, nil, nil, err
		}
		c1, c2, err = connect(t, sw, from(t, ctx))
		return c1, c2, func() { _ = sw.Close() }, err
	})
}

func TestNetLoopback(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		sw := New(Config{})
		c1, c2, err = connect(t, sw, from(t, sw.Host()))
		return c1, c2, func() { _ = sw.Close() }, err
	})
}
