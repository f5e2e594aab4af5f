package hybrid

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// fakeServer answers one client of a Unix socket by hand.
func fakeServer(t *testing.T, answer func(c *net.UnixConn)) *Stack {
	t.Helper()
	path := filepath.Join(t.TempDir(), "v")
	l, err := unixsocket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		answer(c)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return NewStack(path, StackConfig{})
}

// TestAnswers has servers that answer in every way.
func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		want         error  // of Connect
		port         uint32 // else: the local port
		rest         string // and the stream
	}{
		{name: "Firecracker's", answer: "OK 1073741824\n", port: 1073741824},
		{name: "and data at once", answer: "OK 1073741824\nhello", port: 1073741824, rest: "hello"},
		{name: "a line behind it", answer: "OK 1\nOK 2\n", port: 1, rest: "OK 2\n"},
		{name: "the longest", answer: "OK 4294967295\r\n\n", port: 4294967295, rest: "\n"},
		{name: "nothing", answer: "", want: syscall.ECONNRESET},
		{name: "a part", answer: "OK 10737", want: syscall.ECONNRESET},
		{name: "no port", answer: "OK\n", want: syscall.EPROTO},
		{name: "too large a port", answer: "OK 4294967296\n", want: syscall.EPROTO},
		{name: "another protocol", answer: "HTTP/1.1 400 Bad Request\r\n", want: syscall.EPROTO},
		{name: "a long line", answer: "OK " + strings.Repeat("1", 1000), want: syscall.EPROTO},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// In two writes; a client that has read the first waits for the second.
			for at := range min(len(tc.answer), 20) + 1 {
				got := make(chan string, 1)
				st := fakeServer(t, func(c *net.UnixConn) {
					p := make([]byte, len("CONNECT 1024\n"))
					n, _ := io.ReadFull(c, p)
					got <- string(p[:n])
					_, _ = io.WriteString(c, tc.answer[:at])
					_, _ = io.WriteString(c, tc.answer[at:])
				})
				c, err := vsock.Dial(t.Context(), st, vsock.Addr{CID: DefaultGuestCID, Port: 1024})
				if !errors.Is(err, tc.want) {
					t.Fatalf("cut at %d: %v, want %v", at, err, tc.want)
				}
				if line := <-got; line != "CONNECT 1024\n" {
					t.Errorf("the client said %q", line)
				}
				if err != nil {
					continue
				}
				if p := c.LocalAddr().(vsock.Addr); p != (vsock.Addr{CID: vsock.CIDHost, Port: tc.port}) {
					t.Errorf("local address %v", p)
				}
				if rest, err := io.ReadAll(c); string(rest) != tc.rest || err != nil {
					t.Errorf("cut at %d: read %q, %v; want %q", at, rest, err, tc.rest)
				}
				_ = c.Close()
			}
		})
	}
}

func TestConnectErrors(t *testing.T) {
	dir := t.TempDir()
	st := NewStack(filepath.Join(dir, "v"), StackConfig{GuestCID: 7})
	if st.GuestCID() != 7 {
		t.Errorf("guest CID %d", st.GuestCID())
	}
	dial := func(cid uint32) error {
		_, err := vsock.Dial(t.Context(), st, vsock.Addr{CID: cid, Port: 1})
		return err
	}
	if err := dial(7); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("no socket: %v", err)
	}
	for _, cid := range []uint32{0, 1, 2, 3} {
		if err := dial(cid); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("CID %d: %v", cid, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "v"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dial(7); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a file, no socket: %v", err)
	}
}

// TestBacklogFull connects to a server that has no room for it at first.
func TestBacklogFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	l, err := unixsocket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := setBacklog(l, 1); err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	st := NewStack(path, StackConfig{})
	d := vsock.Dialer{Stack: st, Timeout: 20 * time.Millisecond}
	if _, err := d.Dial(t.Context(), vsock.Addr{CID: 3, Port: 1}); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("without room: %v", err)
	}
	d.Timeout = patience
	result := make(chan error)
	go func() {
		c, err := d.Dial(t.Context(), vsock.Addr{CID: 3, Port: 1})
		if err == nil {
			err = c.Close()
		}
		result <- err
	}()
	for range 2 {
		c, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "OK 1024\n")
		defer c.Close()
	}
	if err := <-result; err != nil {
		t.Errorf("with room: %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "v")
	listen := func(st *Stack, port uint32) error {
		l, err := vsock.Listen(t.Context(), st, vsock.Addr{CID: vsock.CIDAny, Port: port})
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	}
	st, other := NewStack(path, StackConfig{}), NewStack(path, StackConfig{})
	if err := listen(st, 52); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path + "_52")
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := listen(other, 52); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("served by another: %v", err)
	}
	if err := listen(NewStack(filepath.Join(dir, "none", "v"), StackConfig{}), 52); err == nil || !strings.Contains(err.Error(), "create it") {
		t.Errorf("no folder: %v", err)
	}
	if err := os.WriteFile(path+"_53", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := listen(st, 53); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
}

// TestStackClose closes what a stack has open, and what it gives after that.
func TestStackClose(t *testing.T) {
	b := newBed(t, ServerConfig{})
	host, guest := b.connected(t)
	l, err := vsock.Listen(t.Context(), b.stack, vsock.Addr{CID: vsock.CIDAny, Port: 52})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.stack.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	expectEnd(t, guest)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := os.Lstat(b.path + "_52"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the listener's socket: %v", err)
	}
	if _, err := b.stack.Socket(vsock.Stream); !errors.Is(err, net.ErrClosed) {
		t.Errorf("socket: %v", err)
	}
	if err := b.stack.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("close again: %v", err)
	}
}

// TestResetStays: a reset that the system tells once is one for good.
func TestResetStays(t *testing.T) {
	release := make(chan struct{})
	st := fakeServer(t, func(c *net.UnixConn) {
		_, _ = io.ReadFull(c, make([]byte, len("CONNECT 1\n")))
		_, _ = io.WriteString(c, "OK 1\nlast")
		<-release // and what the client has sent then is never read
	})
	c, err := vsock.Dial(t.Context(), st, vsock.Addr{CID: 3, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, "unread")
	close(release)
	expect(t, c, "last")
	for range 3 {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want ECONNRESET", err)
		}
	}
}

// FuzzAnswer has a server answer anything, in two writes: the line is taken, and not a
// byte of what is behind it.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"OK 1024\n", "OK 4294967295\r\nrest", "ok 7\nOK 8\n", "OK 4294967296\n", "OK 1\n\n", "CONNECT 1\n", "OK -1\n", "\n", "OK 00000000000000000001"} {
		f.Add([]byte(s), 3)
	}
	dir := f.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		at = min(max(at, 0), len(in))
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		server, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		// All of it is in the socket's buffer before it is read, or else comes in two parts.
		_, _ = server.Write(in[:at])
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			_, _ = server.Write(in[at:])
			_ = server.CloseWrite()
		}()
		port, err := handshake(c, 52)
		<-wrote
		line, rest, ended := bytes.Cut(in, []byte("\n"))
		want, parsed := parseLine(line, verbOK)
		switch {
		case len(line) >= maxAnswer:
			want, ended = 0, false
		case parsed != nil:
			ended = false
		}
		if (err == nil) != ended || err == nil && port != want {
			t.Fatalf("%q: port %d, %v; want %d", in, port, err, want)
		}
		if err != nil {
			return
		}
		behind, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(behind, rest) {
			t.Fatalf("%q: %q is left to read, %v; want %q", in, behind, err, rest)
		}
	})
}
