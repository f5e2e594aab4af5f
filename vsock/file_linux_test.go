package vsock_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/vsock"
)

// TestKernelFile hands both kinds of descriptors around.
func TestKernelFile(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := vsock.FileConn(f); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("FileConn of a listener: %v", err)
	}
	copied, err := vsock.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if copied.Addr() != ln.Addr() {
		t.Errorf("copy of %v is %v", ln.Addr(), copied.Addr())
	}
	c, err := vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := copied.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	cf, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	defer cf.Close()
	if _, err := vsock.FileListener(cf); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("FileListener of a connection: %v", err)
	}
	b, err := vsock.FileConn(cf)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_ = a.Close() // the copies live on
	if _, err := b.Write([]byte("copied")); err != nil {
		t.Error(err)
	}
	p := make([]byte, 9)
	if n, err := c.Read(p); string(p[:n]) != "copied" || err != nil {
		t.Errorf("%q, %v", p[:n], err)
	}
}

func TestKernelSyscallConn(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	c, err := vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for what, sc := range map[string]syscall.Conn{"conn": c, "listener": ln} {
		rc, err := sc.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		listens := -1
		if err := rc.Control(func(fd uintptr) {
			listens, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		}); err != nil {
			t.Fatal(err)
		}
		if listens != map[string]int{"conn": 0, "listener": 1}[what] || err != nil {
			t.Errorf("%s: SO_ACCEPTCONN is %d, %v", what, listens, err)
		}
	}
}

const envActivated = "VSOCK_TEST_ACTIVATED"

// TestKernelSystemd starts itself with sockets as systemd does.
func TestKernelSystemd(t *testing.T) {
	requireGuest(t)
	if os.Getenv(envActivated) == "1" {
		t.Skip("this is the program that was started")
	}
	ln := kernelListener(t)
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe() // what is no vSocket is passed over
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	// exec keeps the process id, as systemd's own does.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" -test.run '^TestActivated$'`, os.Args[0])
	cmd.Env = append(os.Environ(), envActivated+"=1")
	cmd.ExtraFiles = []*os.File{r, f}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := vsock.Dial(t.Context(), nil, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); string(got) != "activated" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestActivated is the program that TestKernelSystemd starts.
func TestActivated(t *testing.T) {
	if os.Getenv(envActivated) != "1" {
		t.Skip("TestKernelSystemd starts this in a guest")
	}
	lns, err := vsock.SystemdListeners()
	if err != nil || len(lns) != 1 {
		t.Fatalf("%d listeners, %v", len(lns), err)
	}
	defer lns[0].Close()
	c, err := lns[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("activated")); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if again, err := vsock.SystemdListeners(); len(again) != 0 || err != nil {
		t.Errorf("again: %d, %v", len(again), err)
	}
}
