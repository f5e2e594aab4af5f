package vsock_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/vsock"
)

// kernelPair gives both ends of a connection over the guest's loopback.
func kernelPair(t *testing.T, typ vsock.Type) (dialed, accepted vsock.Socket) {
	t.Helper()
	cfg := vsock.ListenConfig{Type: typ}
	ln, err := cfg.Listen(t.Context(), vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	d := vsock.Dialer{Type: typ}
	c, err := d.Dial(t.Context(), ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = a.Close() })
	return c.Socket(), a.Socket()
}

// TestKernelMessagesWhole sends messages that do not fit what is left of the
// peer's buffer, with a receiver that takes its time.
func TestKernelMessagesWhole(t *testing.T) {
	requireGuest(t)
	c, a := kernelPair(t, vsock.Seqpacket)
	const count, size = 32, 50_000
	message := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, size+i) }
	sent := make(chan error, 1)
	go func() {
		for i := range count {
			if n, err := c.Send(message(i), 0); err != nil || n != size+i {
				t.Errorf("Send %d: %d, %v", i, n, err)
			}
		}
		sent <- c.Shutdown(vsock.ShutWrite)
	}()
	p := make([]byte, 4*size)
	for i := range count {
		n, got, err := a.Recv(p, 0)
		if err != nil || got != 0 || !bytes.Equal(p[:n], message(i)) {
			t.Errorf("message %d: %d bytes, want %d, flags %#x, %v", i, n, size+i, got, err)
		}
	}
	if n, _, err := a.Recv(p, 0); err == nil {
		t.Errorf("after the end: %d bytes", n)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestKernelMessageFlags(t *testing.T) {
	requireGuest(t)
	c, a := kernelPair(t, vsock.Seqpacket)
	for _, tc := range []struct {
		name             string
		send             string
		sendFlags, flags vsock.Flags
		room, n          int
		got              vsock.Flags
	}{
		{"fits", "hello", 0, 0, 8, 5, 0},
		{"end of record", "hello", vsock.MsgEOR, 0, 8, 5, vsock.MsgEOR},
		{"cut", "hello", 0, 0, 2, 2, vsock.MsgTrunc},
		{"cut, length told", "hello", 0, vsock.MsgTrunc, 2, 5, vsock.MsgTrunc},
		{"no room", "hello", 0, 0, 0, 0, vsock.MsgTrunc},
		{"no room, length told", "hello", 0, vsock.MsgTrunc, 0, 5, vsock.MsgTrunc},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if n, err := c.Send([]byte(tc.send), tc.sendFlags); n != len(tc.send) || err != nil {
				t.Fatalf("Send: %d, %v", n, err)
			}
			p := make([]byte, tc.room)
			n, got, from, err := a.RecvFrom(p, tc.flags)
			if n != tc.n || got != tc.got || err != nil {
				t.Errorf("%d, %#x, %v; want %d, %#x", n, got, err, tc.n, tc.got)
			}
			if local, _ := c.LocalAddr(); from != local {
				t.Errorf("from %v, want %v", from, local)
			}
		})
	}
	if _, err := c.Send(make([]byte, vsock.DefaultBufferSize*8), 0); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a message larger than the peer's buffer: %v", err)
	}
	if _, err := c.Send(nil, 0); !errors.Is(err, vsock.ErrNotSupported) {
		t.Errorf("an empty message: %v", err)
	}
	if _, err := c.SendTo([]byte("x"), 0, vsock.Addr{CID: 1, Port: 1}); !errors.Is(err, syscall.EISCONN) {
		t.Errorf("SendTo: %v", err)
	}
}

// halfSent fills the peer's buffer, and starts a Send of which only half fits.
func halfSent(t *testing.T) (c vsock.Socket, result <-chan error) {
	t.Helper()
	c, _ = kernelPair(t, vsock.Seqpacket)
	if _, err := c.Send(make([]byte, 200_000), 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Send(make([]byte, 200_000), 0)
		done <- err
	}()
	// Once a part of it is queued, there is no room left.
	for vsock.Poll([]vsock.PollFD{{Socket: c, Events: vsock.PollOut}}, 0) != 0 {
		runtime.Gosched()
	}
	return c, done
}

func TestKernelMessageCut(t *testing.T) {
	requireGuest(t)
	t.Run("deadline", func(t *testing.T) {
		c, done := halfSent(t)
		if err := c.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Send: %v", err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		if _, err := c.Send([]byte("x"), 0); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Send after half a message: %v", err)
		}
	})
	t.Run("close", func(t *testing.T) {
		c, done := halfSent(t)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	})
	t.Run("peer gone", func(t *testing.T) {
		c, a := kernelPair(t, vsock.Seqpacket)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if n, _, err := c.Recv(make([]byte, 9), 0); !errors.Is(err, io.EOF) {
			t.Errorf("Recv: %d, %v", n, err)
		}
		if _, err := c.Send([]byte("x"), 0); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("Send: %v", err)
		}
	})
	t.Run("shut down", func(t *testing.T) {
		c, _ := kernelPair(t, vsock.Seqpacket)
		if err := c.Shutdown(vsock.ShutWrite); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send([]byte("x"), 0); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Send: %v", err)
		}
	})
	t.Run("room", func(t *testing.T) {
		c, _ := kernelPair(t, vsock.Seqpacket)
		var err error
		for err == nil { // 4096 divides the peer's buffer: no message is cut
			_, err = c.Send(make([]byte, 4096), vsock.MsgDontWait)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
		_ = c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Send([]byte("x"), 0); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Send with no room: %v", err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		if _, err := c.Send([]byte("x"), vsock.MsgDontWait); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("the connection should have outlived the deadline: %v", err)
		}
	})
}
