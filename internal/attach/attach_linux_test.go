package attach_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// joined is a context of a switch.
func joined(t *testing.T) (*vswitch.Switch, *vswitch.Attach, *attach.Stack) {
	t.Helper()
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	path := filepath.Join(t.TempDir(), "s")
	pool, err := sw.AddAttach(vswitch.AttachConfig{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	s, err := attach.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return sw, pool, s
}

// TestEnd ends the context in several ways: whatever waits in it returns, and what is
// begun later fails at once.
func TestEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*vswitch.Switch, *vswitch.Attach, *attach.Stack) error
		read error
	}{
		"the switch closes": {func(sw *vswitch.Switch, _ *vswitch.Attach, _ *attach.Stack) error { return sw.Close() }, syscall.ECONNRESET},
		"its socket closes": {func(_ *vswitch.Switch, a *vswitch.Attach, _ *attach.Stack) error { return a.Close() }, syscall.ECONNRESET},
		"it leaves":         {func(_ *vswitch.Switch, _ *vswitch.Attach, s *attach.Stack) error { return s.Close() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sw, pool, s := joined(t)
			ln, err := vsock.Listen(t.Context(), s, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
			if err != nil {
				t.Fatal(err)
			}
			cid, _ := s.LocalCID()
			c, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: cid, Port: 1024})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			d, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()

			ends := make(chan error, 3)
			go func() { _, err := ln.Accept(); ends <- err }()
			go func() { _, err := d.Read(make([]byte, 1)); ends <- err }()
			go func() { _, err := c.Read(make([]byte, 1)); ends <- err }()
			if err := tc.end(sw, pool, s); err != nil {
				t.Error(err)
			}
			for range 3 {
				if err := <-ends; err == nil {
					t.Error("a call goes on")
				}
			}
			<-s.Done()
			if _, err := d.Read(make([]byte, 1)); tc.read != nil && !errors.Is(err, tc.read) || err == nil {
				t.Errorf("reading: %v, want %v", err, tc.read)
			}
			if _, err := s.Socket(vsock.Stream); !errors.Is(err, syscall.ENETDOWN) {
				t.Errorf("a socket after the end: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close again: %v", err)
			}
		})
	}
}

// TestDialErrors tries to join what does not serve.
func TestDialErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := attach.Dial(t.Context(), path); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept() // and says nothing
		cancel()
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	if _, err := attach.Dial(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("one that says nothing: %v", err)
	}
}

// TestCloseLosesNothing leaves the switch right after sending: all of that arrives.
func TestCloseLosesNothing(t *testing.T) {
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	path := filepath.Join(t.TempDir(), "s")
	if _, err := sw.AddAttach(vswitch.AttachConfig{Socket: path}); err != nil {
		t.Fatal(err)
	}
	ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for i := range 50 {
		s, err := attach.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := vsock.Dial(t.Context(), s, vsock.Addr{CID: vsock.CIDHost, Port: 1024})
		if err != nil {
			t.Fatal(err)
		}
		host, err := ln.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		const n = 300_000
		type read struct {
			n   int
			err error
		}
		all := make(chan read)
		go func() {
			got, err := io.ReadAll(host)
			all <- read{len(got), err}
		}()
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.CloseWrite(), c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if got := <-all; got.n != n || got.err != nil {
			t.Fatalf("round %d: %d bytes, %v; want %d", i, got.n, got.err, n)
		}
		_ = host.Close()
	}
}
