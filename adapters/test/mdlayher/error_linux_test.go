package mdlayher_test

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

func TestDialNobody(t *testing.T) {
	requireGuest(t)
	for _, port := range []uint32{9, 1<<32 - 3, 1<<32 - 2} {
		_, err := vsock.Dial(vsock.Local, port, nil)
		want := &net.OpError{
			Op: "dial", Net: "vsock", Addr: &vsock.Addr{ContextID: vsock.Local, Port: port},
			Err: os.NewSyscallError("connect", unix.ECONNRESET),
		}
		if diff := cmp.Diff(error(want), err); diff != "" {
			t.Errorf("port %d (-want +got):\n%s", port, diff)
		}
	}
	if _, err := vsock.Dial(vsock.Host, 9, nil); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("of the host: %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	requireGuest(t)
	taken := listen(t).Addr().(*vsock.Addr)
	for _, tc := range []struct {
		a     vsock.Addr
		errno error
	}{
		{*taken, unix.EADDRINUSE},
		{vsock.Addr{ContextID: 77, Port: 1024}, unix.EADDRNOTAVAIL},
	} {
		_, err := vsock.ListenContextID(tc.a.ContextID, tc.a.Port, nil)
		want := &net.OpError{Op: "listen", Net: "vsock", Addr: &tc.a, Err: os.NewSyscallError("bind", tc.errno)}
		if diff := cmp.Diff(error(want), err); diff != "" {
			t.Errorf("%v (-want +got):\n%s", &tc.a, diff)
		}
	}
}

func TestFileListener(t *testing.T) {
	requireGuest(t)
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) //nolint:forbidigo // in a guest that a test booted
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "vsock")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_LOCAL, Port: unix.VMADDR_PORT_ANY}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing the listener leaves the file as it is
		l, err := vsock.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		a, b, err := connect(l)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Close()
		_ = b.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFileListenerOfOthers(t *testing.T) {
	requireGuest(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@vsockets-test", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, got := vsock.FileListener(f)
	want := &net.OpError{Op: "listen", Net: "vsock", Err: os.NewSyscallError("listen", unix.EINVAL)}
	if diff := cmp.Diff(error(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSyscallConn(t *testing.T) {
	requireGuest(t)
	a, _ := pair(t)
	rc, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const (
		size  = 4096
		level = unix.AF_VSOCK //nolint:forbidigo // of an option, and in a guest
	)
	var got uint64
	var opt error
	if err := rc.Control(func(fd uintptr) {
		if opt = unix.SetsockoptUint64(int(fd), level, unix.SO_VM_SOCKETS_BUFFER_MAX_SIZE, size); opt == nil {
			got, opt = unix.GetsockoptUint64(int(fd), level, unix.SO_VM_SOCKETS_BUFFER_MAX_SIZE)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got != size || opt != nil {
		t.Errorf("%d, %v; want %d", got, opt, size)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for op, err := range map[string]error{
		"raw-control": rc.Control(func(uintptr) {}),
		"raw-read":    rc.Read(func(uintptr) bool { return true }),
		"raw-write":   rc.Write(func(uintptr) bool { return true }),
	} {
		var oe *net.OpError
		if !errors.As(err, &oe) || oe.Op != op || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %#v", op, err)
		}
	}
}
