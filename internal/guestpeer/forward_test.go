package guestpeer_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// TestForward goes from TCP to vSockets and back to TCP, and through a half-close.
func TestForward(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	peer := guestpeer.New(sw.Host())
	defer peer.Close()

	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		c, err := echo.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write(all)
		}
	}()
	var to vsock.Addr
	listen := guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceTCP, TCP: echo.Addr().String()}
	if err := peer.Call(t.Context(), guestpeer.CmdListen, listen, &to); err != nil {
		t.Fatal(err)
	}
	to.CID = vsock.CIDHost
	var via string
	if err := peer.Call(t.Context(), guestpeer.CmdForward, guestpeer.Forward{TCP: "127.0.0.1:0", To: to}, &via); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", via)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := bytes.Repeat([]byte("vsockets"), 1<<13)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); !bytes.Equal(got, want) || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}
