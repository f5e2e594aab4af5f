package vsock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/nettest"

	"vsockets.dev/internal/testguest"
	"vsockets.dev/internal/testguest/guest"
	"vsockets.dev/vsock"
)

// The tests of the kernel's stack, TestKernel*, run inside of a guest only. On the
// machine itself CID 1 and 2 reach a hypervisor that is none of theirs.
func requireGuest(t *testing.T) {
	t.Helper()
	if os.Getenv(guest.EnvGuest) != "1" {
		t.Skipf("the kernel's sockets are tried in a guest only, where %s=1: TestInGuest runs this there", guest.EnvGuest)
	}
}

// TestInGuest runs the TestKernel tests in a guest, over the kernel's loopback.
func TestInGuest(t *testing.T) {
	out := runInGuest(t, testguest.Config{Loopback: true}, "^TestKernel")
	if strings.Contains(out, "--- SKIP") || !strings.Contains(out, "--- PASS: TestKernelNet ") {
		t.Error("not every test ran in the guest")
	}
}

// runInGuest boots a guest and runs those tests of this program in it that the pattern
// matches.
func runInGuest(t *testing.T, c testguest.Config, pattern string) (output string) {
	t.Helper()
	testguest.Require(t)
	dir := t.TempDir()
	var err error
	if c.Init, err = testguest.Build(t.Context(), dir, testguest.InitPackage); err != nil {
		t.Fatal(err)
	}
	program, err := testguest.BuildTest(t.Context(), dir, "vsockets.dev/vsock")
	if err != nil {
		t.Fatal(err)
	}
	g, err := testguest.Boot(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var out strings.Builder
	exit, err := g.Run(t.Context(), testguest.Command{
		Path: program, Args: []string{"-test.run", pattern, "-test.v"},
		Stdout: &out, Stderr: &out,
	})
	t.Logf("Linux %s:\n%s", g.Kernel(), out.String())
	if err != nil || exit != 0 {
		t.Fatalf("exit status %d, %v", exit, err)
	}
	return out.String()
}

func kernelListener(t *testing.T) *vsock.Listener {
	t.Helper()
	ln, err := vsock.Listen(t.Context(), nil, vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestKernelNet(t *testing.T) {
	requireGuest(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ln, err := vsock.Listen(t.Context(), nil, vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny})
		if err != nil {
			return nil, nil, nil, err
		}
		defer ln.Close()
		if c1, err = vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr)); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = ln.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}

func TestKernelAddresses(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	c, err := vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.RemoteAddr() != c.LocalAddr() || c.RemoteAddr() != ln.Addr() {
		t.Errorf("%v -> %v, accepted %v <- %v", c.LocalAddr(), c.RemoteAddr(), a.LocalAddr(), a.RemoteAddr())
	}
	if cid, err := vsock.Kernel().LocalCID(); err != nil || cid != vsock.CIDLocal {
		t.Errorf("LocalCID: %d, %v", cid, err) // what a guest has whose only transport is loopback
	}
}

func TestKernelErrors(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	addr := ln.Addr().(vsock.Addr)
	if _, err := vsock.Listen(t.Context(), nil, addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := vsock.Dial(t.Context(), nil, vsock.Addr{CID: vsock.CIDLocal, Port: 9}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
}

func TestKernelHalfClose(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	c, err := vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); len(got) != 0 || err != nil {
		t.Errorf("after CloseWrite: %q, %v", got, err)
	}
	if _, err := a.Write([]byte("still open")); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "still open" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestKernelOptions is the guide's own check of setsockopt.
func TestKernelOptions(t *testing.T) {
	requireGuest(t)
	s, err := vsock.Kernel().Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tc := range []struct {
		o vsock.Option
		v uint64
	}{
		{vsock.BufferSize, 32768},
		{vsock.BufferMaxSize, 1 << 33},
		{vsock.BufferSize, 1<<32 + 1},
		{vsock.BufferMinSize, 256},
		{vsock.ConnectTimeout, 1_500_000_000},
	} {
		if err := s.SetOption(tc.o, tc.v); err != nil {
			t.Errorf("%v = %d: %v", tc.o, tc.v, err)
		}
		if got, err := s.Option(tc.o); got != tc.v || err != nil {
			t.Errorf("%v: %d, %v; want %d", tc.o, got, err, tc.v)
		}
	}
}

func TestKernelFamily(t *testing.T) {
	requireGuest(t)
	if af, err := vsock.AddressFamily(); af != 40 || err != nil {
		t.Errorf("AddressFamily: %d, %v", af, err)
	}
	if cid, err := vsock.LocalCID(); cid != vsock.CIDLocal || err != nil {
		t.Errorf("LocalCID: %d, %v", cid, err)
	}
	if v, err := vsock.Version(); v>>24 != 1 || err != nil {
		t.Errorf("Version: %#x, %v", v, err)
	}
}

// TestKernelMemory: a connection's Read and Write need none.
func TestKernelMemory(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	c, err := vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b := make([]byte, 64)
	n := testing.AllocsPerRun(100, func() {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(a, b); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("a Write and a Read take memory %v times", n)
	}
}
