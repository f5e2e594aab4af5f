package hybrid

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"vsockets.dev/vsock"
)

// TestFile hands a connection over, to somebody who knows nothing of the protocol: also
// what the guest has sent right behind the answer is there.
func TestFile(t *testing.T) {
	st := fakeServer(t, func(c *net.UnixConn) {
		if _, _, err := readRequest(c); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(c, "OK 5\nearly ")
		p, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		_, _ = c.Write(p)
	})
	defer st.Close()
	conn, err := vsock.Dial(t.Context(), st, vsock.Addr{CID: DefaultGuestCID, Port: 22})
	if err != nil {
		t.Fatal(err)
	}
	rc, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	f, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := rc.Control(func(fd uintptr) {
		if fd == f.Fd() {
			t.Error("the file is no copy")
		}
	}); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil { // the copy is not concerned
		t.Error(err)
	}
	u, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, _ = io.WriteString(u, "late")
	if err := u.(*net.UnixConn).CloseWrite(); err != nil {
		t.Error(err)
	}
	if p, err := io.ReadAll(u); string(p) != "early late" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := conn.File(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed connection: %v", err)
	}
}

// TestNoFile is of a socket that has no Unix socket yet.
func TestNoFile(t *testing.T) {
	st := NewStack("none", StackConfig{})
	defer st.Close()
	s, err := st.Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.(*socket).File(); !errors.Is(err, syscall.ENOTCONN) {
		t.Error(err)
	}
}
