package vsocktest_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// port is where the tests' servers listen.
const port = 5000

// serve listens, and gives what it accepts.
func serve(t *testing.T, s vsock.Stack) <-chan *vsock.Conn {
	t.Helper()
	ln, err := vsock.Listen(t.Context(), s, vsock.Addr{CID: vsock.CIDAny, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *vsock.Conn)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		for range conns { // those nobody took
		}
		<-done
	})
	go func() {
		defer close(done)
		defer close(conns)
		for {
			c, err := ln.AcceptConn()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	return conns
}

func dial(t *testing.T, s vsock.Stack, cid uint32) *vsock.Conn {
	t.Helper()
	c, err := vsock.Dial(t.Context(), s, vsock.Addr{CID: cid, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFails(t *testing.T, c net.Conn, want error) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		t.Errorf("read: %v, want %v", err, want)
	}
}

func TestNetDrop(t *testing.T) {
	n := vsocktest.NewPair(t)
	guests := serve(t, n.Guest)
	c := dial(t, n.Host, vsocktest.GuestCID)
	g := <-guests
	n.Drop()
	readFails(t, c, syscall.ECONNRESET)
	if _, err := g.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read in a guest that is gone: %v", err)
	}
	to := vsock.Addr{CID: vsocktest.GuestCID, Port: port}
	if _, err := vsock.Dial(t.Context(), n.Host, to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial a guest that is gone: %v", err)
	}
	n.Restart()
	if _, err := vsock.Dial(t.Context(), n.Host, to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial a guest that has no listener yet: %v", err)
	}
	guests = serve(t, n.Guest)
	_ = dial(t, n.Host, vsocktest.GuestCID)
	<-guests
}

func TestNetReset(t *testing.T) {
	n := vsocktest.NewPair(t)
	hosts := serve(t, n.Host)
	guest := n.Guest
	for range 3 {
		_ = dial(t, guest, vsock.CIDHost)
		h := <-hosts
		n.Reset()
		readFails(t, h, syscall.ECONNRESET)
	}
	c := dial(t, guest, vsock.CIDHost) // the stack is the same, and so is the listener
	h := <-hosts
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(h, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if cid, err := guest.LocalCID(); cid != vsocktest.GuestCID || err != nil {
		t.Errorf("LocalCID: %d, %v", cid, err)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vsocktest.NewPair(t)
		ln, err := vsock.Listen(t.Context(), n.Host, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		const delay = 100 * time.Millisecond
		n.Delay(delay)
		start := time.Now()
		c, err := vsock.Dial(t.Context(), n.Guest, ln.Addr().(vsock.Addr))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 2*delay {
			t.Errorf("connecting took %v, want there and back, %v", took, 2*delay)
		}
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// More than one packet, and the end: all in order, all as late.
		start = time.Now()
		go func() {
			_, _ = c.Write(make([]byte, 50_000))
			_, _ = c.Write([]byte("last"))
			_ = c.CloseWrite()
		}()
		got, err := io.ReadAll(a)
		if len(got) != 50_004 || !strings.HasSuffix(string(got), "last") || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(start); took != delay {
			t.Errorf("the end came after %v, want %v", took, delay)
		}
		n.Delay(0)
		_ = c.Close()
		_ = a.Close()
	})
}
