package guestpeer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// client is a client of a peer in the host's context of a switch.
func client(t *testing.T) (*guestpeer.Client, *vswitch.Switch) {
	t.Helper()
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	peer := guestpeer.New(sw.Host())
	t.Cleanup(func() { _ = peer.Close() })
	var at vsock.Addr
	if err := peer.Call(t.Context(), guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceCalls}, &at); err != nil {
		t.Fatal(err)
	}
	conn, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDHost, Port: at.Port})
	if err != nil {
		t.Fatal(err)
	}
	c := guestpeer.NewClient(conn)
	t.Cleanup(func() { _ = c.Close() })
	return c, sw
}

func TestClient(t *testing.T) {
	c, sw := client(t)
	remote := guestpeer.NewRemote(t.Context(), c)
	ln, err := vsock.Listen(t.Context(), remote, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() { // while the other calls go on
		a, err := ln.Accept()
		if err == nil {
			_, err = io.WriteString(a, "hello")
			_ = a.Close()
		}
		accepted <- err
	}()
	d, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDHost, Port: ln.Addr().(vsock.Addr).Port})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := io.ReadAll(d); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := vsock.Dial(t.Context(), remote, vsock.Addr{CID: 9, Port: 9}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := c.Call(t.Context(), "nope", nil, nil); err == nil || !strings.Contains(err.Error(), `"nope"`) {
		t.Errorf("no such command: %v", err)
	}
}

func TestClientGivesUp(t *testing.T) {
	c, _ := client(t)
	remote := guestpeer.NewRemote(t.Context(), c)
	s, err := remote.Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	// What the socket watches for never comes: only the end of the call ends it, and
	// were it not passed on, Close of the peer would wait for it forever.
	s.Watch(vsock.PollIn, func() {})()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Call(ctx, guestpeer.CmdDial, guestpeer.Dial{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Call: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := remote.LocalCID(); err == nil {
		t.Error("a call after Close succeeds")
	}
}
