package hybrid

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"vsockets.dev/vsock"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

func write(t testing.TB, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// expect reads just a text.
func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	p := make([]byte, len(want))
	if n, err := io.ReadFull(c, p); string(p[:n]) != want || err != nil {
		t.Fatalf("read %q, %v; want %q", p[:n], err, want)
	}
}

// expectEnd reads what is left, which must be nothing.
func expectEnd(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(c)
	if len(rest) != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

// until waits until a condition holds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(limit) {
			t.Fatalf("never came: %s", what)
		}
		vsock.Poll(nil, time.Millisecond)
	}
}

// answer is the line that a connection is answered with.
func answer(guest *vsock.Conn) string {
	return "OK " + strconv.FormatUint(uint64(guest.RemoteAddr().(vsock.Addr).Port), 10) + "\n"
}

// TestPipelined sends the line and the stream behind it in one write, and cut
// anywhere.
func TestPipelined(t *testing.T) {
	b := newBed(t, ServerConfig{})
	l, port := b.listen(t)
	line := string(formatLine(verbConnect, port))
	stream := strings.Repeat("0123456789", 100)
	for at := range len(line) + 3 {
		c := b.raw(t)
		write(t, c, (line + stream)[:at])
		write(t, c, (line + stream)[at:])
		g, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		expect(t, c, answer(g))
		expect(t, g, stream)
		write(t, g, "and back")
		expect(t, c, "and back")
		_ = c.Close()
		expectEnd(t, g)
		_ = g.Close()
	}
}

// TestPipelinedEnd has a client that says all it has to say at once.
func TestPipelinedEnd(t *testing.T) {
	b := newBed(t, ServerConfig{})
	l, port := b.listen(t)
	c := b.raw(t)
	write(t, c, string(formatLine(verbConnect, port))+"question")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	g, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, g, "question")
	expectEnd(t, g)
	write(t, g, "answer")
	_ = g.Close()
	expect(t, c, answer(g)+"answer")
	expectEnd(t, c)
}

func TestHalfClose(t *testing.T) {
	b := newBed(t, ServerConfig{})
	for range 10 {
		for _, swap := range []bool{false, true} {
			x, y := b.connected(t)
			if swap {
				x, y = y, x
			}
			write(t, x, "question")
			if err := x.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expect(t, y, "question")
			expectEnd(t, y)
			write(t, y, "answer")
			_ = y.Close()
			expect(t, x, "answer")
			expectEnd(t, x)
			_ = x.Close()
		}
	}
}

// TestClientGone has a client that closes without a word while the guest waits for
// it: the connection must not stay.
func TestClientGone(t *testing.T) {
	if !tellsHangup {
		t.Skip("this system does not tell of a hang-up")
	}
	b := newBed(t, ServerConfig{})
	for _, halfClosed := range []bool{false, true} {
		host, guest := b.connected(t)
		if halfClosed {
			if err := host.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, guest)
		}
		_ = host.Close()
		until(t, "the connection's end", func() bool { return b.server.Counters().Active == 0 })
		if _, err := guest.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a client that is gone: %v", err)
		}
	}
}

func TestRefused(t *testing.T) {
	b := newBed(t, ServerConfig{})
	_, port := b.listen(t)
	for _, line := range []string{
		string(formatLine(verbConnect, port+1)),
		"CONNECT 4294967295\n",
	} {
		c := b.raw(t)
		write(t, c, line)
		expectEnd(t, c)
	}
	if n := b.server.Counters(); n.Refused != 2 || n.Joined != 0 {
		t.Errorf("counters %+v", n)
	}
}

func TestMalformed(t *testing.T) {
	b := newBed(t, ServerConfig{HandshakeTimeout: time.Minute})
	garbage := []string{
		"\n", "CONNECT\n", "CONNECT x\n", "GET / HTTP/1.1\r\n\r\n",
		strings.Repeat("CONNECT ", 1000),
		string(bytes.Repeat([]byte{0}, 1000)), "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	}
	for i, text := range garbage {
		c := b.raw(t)
		_, _ = io.WriteString(c, text) // the server may have closed already
		if i == len(garbage)-1 {
			_ = c.CloseWrite()
		}
		expectEnd(t, c)
	}
	if n := b.server.Counters(); n.Malformed != uint64(len(garbage)) {
		t.Errorf("counters %+v, want %d malformed", n, len(garbage))
	}
}

// TestEndless has a client that sends without an end: it must be cut off.
func TestEndless(t *testing.T) {
	b := newBed(t, ServerConfig{HandshakeTimeout: time.Minute})
	c := b.raw(t)
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	p := bytes.Repeat([]byte("1"), 4096)
	for {
		if _, err := c.Write(p); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the server goes on")
			}
			break
		}
	}
}

func TestHandshakeTimeout(t *testing.T) {
	b := newBed(t, ServerConfig{HandshakeTimeout: 20 * time.Millisecond})
	for _, text := range []string{"", "CONNECT 1"} {
		c := b.raw(t)
		begin := time.Now()
		write(t, c, text)
		expectEnd(t, c)
		if took := time.Since(begin); took < 20*time.Millisecond {
			t.Errorf("closed after %v", took)
		}
	}
	if n := b.server.Counters(); n.TimedOut != 2 {
		t.Errorf("counters %+v", n)
	}
}

func TestDialTimeout(t *testing.T) {
	b := newBed(t, ServerConfig{DialTimeout: 20 * time.Millisecond})
	c := b.raw(t)
	write(t, c, string(formatLine(verbConnect, silentPort)))
	expectEnd(t, c)
	if n := b.server.Counters(); n.Refused != 1 {
		t.Errorf("counters %+v", n)
	}
}

// TestSilentClients has a thousand clients that say nothing. They must not keep out
// one that does.
func TestSilentClients(t *testing.T) {
	const clients = 1000
	b := newBed(t, ServerConfig{HandshakeTimeout: time.Minute})
	for range clients {
		b.raw(t)
	}
	host, guest := b.connected(t)
	write(t, host, "through")
	expect(t, guest, "through")
	until(t, "the eviction", func() bool {
		n := b.server.Counters()
		return n.Evicted == clients-DefaultMaxHandshakes || n.Evicted == clients-DefaultMaxHandshakes+1
	})
	// One that is evicted is counted first, and ends then.
	until(t, "the end of those", func() bool { return b.server.Counters().Active <= DefaultMaxHandshakes+1 })
	if n := b.server.Counters(); n.Joined != 1 {
		t.Errorf("counters %+v", n)
	}
}

func TestMaxConns(t *testing.T) {
	b := newBed(t, ServerConfig{MaxConns: 2})
	h1, _ := b.connected(t)
	b.connected(t)
	c := b.raw(t)
	expectEnd(t, c)
	if _, err := b.server.DialHost(t.Context(), 1); err == nil {
		t.Error("DialHost beyond the limit succeeded")
	}
	if n := b.server.Counters(); n.Limited != 2 || n.Active != 2 {
		t.Errorf("counters %+v", n)
	}
	_ = h1.Close()
	until(t, "room for another", func() bool { return b.server.Counters().Active < 2 })
	b.connected(t)
}

// TestClose has connections in every state when the server is closed.
func TestClose(t *testing.T) {
	b := newBed(t, ServerConfig{HandshakeTimeout: time.Minute, DialTimeout: time.Minute})
	silent, dialling := b.raw(t), b.raw(t)
	write(t, dialling, string(formatLine(verbConnect, silentPort)))
	host, guest := b.connected(t)
	until(t, "three connections", func() bool { return b.server.Counters().Active == 3 })
	s := b.server
	b.server = NewServer(ServerConfig{}) // for the bed to close
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{silent, dialling, host, guest} {
		expectEnd(t, c)
	}
	if err := s.Close(); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Close again: %v", err)
	}
	l, err := nettest.NewLocalListener("unix")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve on a closed server: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	if n := s.Counters().Active; n != 0 {
		t.Errorf("%d are active", n)
	}
}

// flaky is a listener whose Accept fails some times.
type flaky struct {
	net.Listener
	fails []error
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.fails) > 0 {
		err := f.fails[0]
		f.fails = f.fails[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	b := newBed(t, ServerConfig{})
	lg, port := b.listen(t)
	l, err := nettest.NewLocalListener("unix")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- b.server.Serve(&flaky{l, []error{&net.OpError{Op: "accept", Err: os.NewSyscallError("accept", syscall.EMFILE)}, syscall.ECONNABORTED}})
	}()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, string(formatLine(verbConnect, port)))
	g, err := lg.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c, answer(g))
	_ = g.Close()
	_ = l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}

	l, err = nettest.NewLocalListener("unix")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(&flaky{l, []error{syscall.EBADF}}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Serve: %v, want EBADF", err)
	}
}

func TestNet(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		b := newBed(t, ServerConfig{})
		host, guest := b.connected(t)
		return host, guest, func() {
			_ = host.Close()
			_ = guest.Close()
			_ = b.server.Close()
			b.server = NewServer(ServerConfig{})
		}, nil
	})
}

// FuzzServer has clients that send anything, in two writes.
func FuzzServer(f *testing.F) {
	b := newBed(f, ServerConfig{HandshakeTimeout: time.Second, Dial: func(context.Context, uint32) (*vsock.Conn, error) {
		return nil, syscall.ECONNRESET
	}})
	for _, s := range []string{"CONNECT 1\n", "CONNECT 1\r\nrest", "\x00\n", "CONNECT 99999999999999999999999"} {
		f.Add([]byte(s), 4)
	}
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		at = min(max(at, 0), len(in))
		before := b.server.Counters()
		c := b.raw(t)
		_, _ = c.Write(in[:at])
		_, _ = c.Write(in[at:])
		_ = c.CloseWrite()
		expectEnd(t, c)
		_, _, err := readRequest(bytes.NewReader(in))
		until(t, "the count", func() bool {
			n := b.server.Counters()
			if err == nil {
				return n.Refused == before.Refused+1
			}
			return n.Malformed == before.Malformed+1
		})
	})
}

// TestDefaults are those that the documentation tells.
func TestDefaults(t *testing.T) {
	var c ServerConfig
	c.fill()
	if c.HandshakeTimeout != DefaultHandshakeTimeout || c.DialTimeout != DefaultDialTimeout ||
		c.MaxHandshakes != DefaultMaxHandshakes || c.MaxConns != DefaultMaxConns {
		t.Errorf("%+v", c)
	}
}
