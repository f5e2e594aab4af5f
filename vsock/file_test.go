package vsock_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"vsockets.dev/vsock"
)

// TestNoFile: the sockets of a stack in user space are no files, and not every file is
// a vSocket.
func TestNoFile(t *testing.T) {
	host, other := contexts(t)
	ln := listener(t, &vsock.ListenConfig{Stack: host}, 1024)
	c, err := vsock.Dial(t.Context(), other, ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, file := range map[string]func() (*os.File, error){"Conn": c.File, "Listener": ln.File} {
		if _, err := file(); !errors.Is(err, vsock.ErrNotSupported) {
			t.Errorf("%s.File: %v", name, err)
		}
	}
	for name, sc := range map[string]syscall.Conn{"Conn": c, "Listener": ln} {
		if _, err := sc.SyscallConn(); !errors.Is(err, vsock.ErrNotSupported) {
			t.Errorf("%s.SyscallConn: %v", name, err)
		}
	}
}

func TestFileOfAnotherKind(t *testing.T) {
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer w.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, tc := range map[string]struct {
		file func() (*os.File, error)
		want error
	}{
		"pipe":       {func() (*os.File, error) { return pipe, nil }, syscall.ENOTSOCK},
		"TCP socket": {l.(*net.TCPListener).File, syscall.EAFNOSUPPORT},
	} {
		f, err := tc.file()
		if err != nil {
			t.Logf("%s: %v", name, err) // Windows gives no file of a socket
			continue
		}
		defer f.Close()
		_, err1 := vsock.FileConn(f)
		_, err2 := vsock.FileListener(f)
		for _, err := range []error{err1, err2} {
			var op *net.OpError
			if !errors.As(err, &op) || !errors.Is(err, tc.want) && !errors.Is(err, vsock.ErrNotSupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
