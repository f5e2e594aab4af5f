package cp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const testLimit = 10 * time.Second

// total is a Progress that counts.
type total struct{ size, n uint64 }

func (t *total) Begin(size uint64) { t.size = size }
func (t *total) Add(n int)         { t.n += uint64(n) }

// bed is a server for a folder.
type bed struct {
	*testing.T
	dir    string
	socket string
}

func serveDir(t *testing.T, s Server) *bed {
	t.Helper()
	b := &bed{t, t.TempDir(), filepath.Join(t.TempDir(), "s")}
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Root = root
	l, err := net.Listen("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = root.Close()
	})
	return b
}

// dial makes a connection, for one copy.
func (b *bed) dial() net.Conn {
	b.Helper()
	c, err := net.Dial("unix", b.socket)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testLimit))
	return c
}

func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func same(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v; want %d", path, len(got), err, len(want))
	}
}

func TestCopy(t *testing.T) {
	b := serveDir(t, Server{})
	if err := os.Mkdir(filepath.Join(b.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	local := t.TempDir()
	for _, data := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("0123456789"), 100_000)} {
		from := write(t, filepath.Join(local, "from"), data)
		for _, name := range []string{"there", "/there", "sub/there", "//sub/../there"} { // the second time it replaces it
			var p total
			d, err := Send(b.dial(), from, name, &p)
			if sum := sha256.Sum256(data); err != nil || !bytes.Equal(d.SHA256, sum[:]) || p.n != uint64(len(data)) || p.size != p.n {
				t.Fatalf("%+v, %v, %+v", d, err, p)
			}
			same(t, filepath.Join(b.dir, strings.TrimPrefix(filepath.Clean("/"+name), "/")), data)
			to := filepath.Join(local, "to")
			if d, err = Receive(b.dial(), name, to, &p); err != nil || d.Size != uint64(len(data)) {
				t.Fatalf("%+v, %v", d, err)
			}
			same(t, to, data)
			if i, err := os.Stat(to); err != nil || i.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v", i.Mode(), err)
			}
		}
	}
	if _, err := Receive(b.dial(), "sub/there", t.TempDir(), new(total)); err != nil {
		t.Errorf("into a folder: %v", err)
	}
	for _, dir := range []string{b.dir, local} {
		if left, err := filepath.Glob(filepath.Join(dir, ".vsock-cp-*")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

func TestRefused(t *testing.T) {
	b := serveDir(t, Server{MaxSize: 3})
	big := write(t, filepath.Join(t.TempDir(), "big"), make([]byte, 4<<20))
	if _, err := Send(b.dial(), big, "x", new(total)); err == nil || !strings.Contains(err.Error(), "at most 3") {
		t.Errorf("%v", err)
	}
	if _, err := Send(b.dial(), t.TempDir(), "x", new(total)); err == nil || !strings.Contains(err.Error(), "tar c") {
		t.Errorf("%v", err)
	}
	b = serveDir(t, Server{ReadOnly: true})
	if _, err := Send(b.dial(), big, "x", new(total)); err == nil || !strings.Contains(err.Error(), "only be got") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(b.dir); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestBroken has transfers that must not leave a file.
func TestBroken(t *testing.T) {
	b := serveDir(t, Server{})
	for name, body := range map[string][]byte{
		"cut short":       []byte("ab"),
		"no checksum":     []byte("abc"),
		"half a checksum": append([]byte("abc"), make([]byte, 5)...),
		"wrong checksum":  append([]byte("abc"), make([]byte, sha256.Size)...),
	} {
		c := b.dial()
		if err := (request{Put, 0o600, 3, "x"}).write(c); err != nil {
			t.Fatal(err)
		}
		if _, err := readReply(c); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(body); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.UnixConn).CloseWrite()
		var remote *RemoteError
		if _, err := readReply(c); !errors.As(err, &remote) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := io.ReadAll(c); err != nil { // it is closed, so the file is gone too
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(b.dir); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}

// TestClientBroken has a server that sends what is wrong.
func TestClientBroken(t *testing.T) {
	for name, send := range map[string]func(io.Writer){
		"another protocol": func(w io.Writer) { _, _ = w.Write([]byte("HTTP/1.1 400 Bad Request\r\n")) },
		"nothing":          func(io.Writer) {},
		"wrong checksum": func(w io.Writer) {
			_ = reply{Size: 3}.write(w)
			_, _ = w.Write(append([]byte("abc"), make([]byte, sha256.Size)...))
		},
		"cut short": func(w io.Writer) {
			_ = reply{Size: 1 << 60}.write(w)
			_, _ = w.Write([]byte("abc"))
		},
	} {
		client, server := net.Pipe()
		go func() {
			_, _ = readRequest(server)
			send(server)
			_ = server.Close()
		}()
		dir := t.TempDir()
		if _, err := Receive(client, "x", filepath.Join(dir, "x"), new(total)); err == nil {
			t.Errorf("%s: no error", name)
		}
		_ = client.Close()
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: there is %v", name, left)
		}
	}
}

// FuzzRequest holds what is read against what is written.
func FuzzRequest(f *testing.F) {
	var b bytes.Buffer
	_ = request{Put, 0o644, 5, "a/b"}.write(&b)
	f.Add(b.Bytes())
	f.Add([]byte("vsockcp1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readRequest(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := r.write(&again); err != nil || !bytes.HasPrefix(data, again.Bytes()) {
			t.Errorf("%+v: %v", r, err)
		}
		if name, err := clean(r.Name); err == nil && !filepath.IsLocal(name) {
			t.Errorf("%q leads out: %q", r.Name, name)
		}
	})
}

// FuzzReply holds what is read against what is written.
func FuzzReply(f *testing.F) {
	var b bytes.Buffer
	_ = reply{Failed: true, Text: "no"}.write(&b)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readReply(bytes.NewReader(data))
		var remote *RemoteError
		if err != nil && !errors.As(err, &remote) {
			return
		}
		var again bytes.Buffer
		if err := r.write(&again); err != nil || !bytes.HasPrefix(data, again.Bytes()) {
			t.Errorf("%+v: %v", r, err)
		}
	})
}

// TestMaxConns has as many clients say nothing as there may be. One more waits until one of
// them has gone.
func TestMaxConns(t *testing.T) {
	b := serveDir(t, Server{})
	write(t, filepath.Join(b.dir, "f"), []byte("text"))
	var silent []net.Conn
	for range DefaultMaxConns {
		silent = append(silent, b.dial())
	}
	get := func(within time.Duration) error {
		c := b.dial()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(within))
		_, err := Receive(c, "f", filepath.Join(t.TempDir(), "f"), new(total))
		return err
	}
	if err := get(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more: %v", err)
	}
	_ = silent[0].Close()
	if err := get(testLimit); err != nil {
		t.Errorf("when one has gone: %v", err)
	}
}

// lateListener has clients that wait in its backlog, and its Close comes too late for them.
type lateListener struct {
	net.Listener
	backlog chan net.Conn
}

func (l lateListener) Accept() (net.Conn, error) {
	if c, ok := <-l.backlog; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (lateListener) Close() error { return nil }

// TestServeEndsFull ends a server that has no place for those who wait.
func TestServeEndsFull(t *testing.T) {
	l := lateListener{backlog: make(chan net.Conn, 16)}
	for range cap(l.backlog) {
		near, far := net.Pipe()
		defer far.Close()
		l.backlog <- near
	}
	close(l.backlog)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := Server{MaxConns: 1}
	go func() { done <- s.Serve(ctx, l) }()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testLimit):
		t.Fatal("it does not end")
	}
}

// TestNothingAsked has a client come and go, which is nothing to tell of; one that stops
// in the middle of its request is.
func TestNothingAsked(t *testing.T) {
	logged := make(chan error, 2)
	b := serveDir(t, Server{MaxConns: 1, Log: func(_ net.Addr, _ Op, _ string, err error) { logged <- err }})
	for _, sent := range []string{"", "VS"} {
		c, err := net.Dial("unix", b.socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(testLimit))
		_, _ = io.WriteString(c, sent)
		_ = c.(*net.UnixConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || sent == "" && len(got) > 0 {
			t.Errorf("%q is answered with %q, %v", sent, got, err)
		}
		_ = c.Close()
	}
	// They are served one after the other: the first that is told of is the second.
	if err := <-logged; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v is told of", err)
	}
}
