package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tcpPair gives the two ends of a TCP connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// joined is a link that runs: its outer ends, and its outcome.
func joined(t *testing.T, l Link, a, b func(*testing.T) (Conn, Conn)) (client, server Conn, outcome <-chan error) {
	t.Helper()
	client, l.A = a(t)
	l.B, server = b(t)
	done := make(chan error, 1)
	go func() { done <- l.Run() }()
	return client, server, done
}

func overTCP(t *testing.T) (Conn, Conn) { a, b := tcpPair(t); return a, b }

func overUnix(t *testing.T) (Conn, Conn) { a, b := pair(t); return a, b }

var kinds = map[string]func(*testing.T) (Conn, Conn){"tcp": overTCP, "unix": overUnix}

// TestBurstsAndPauses goes back and forth between the kernel's copying and our own,
// and counts.
func TestBurstsAndPauses(t *testing.T) {
	for an, a := range kinds {
		for bn, b := range kinds {
			t.Run(an+"-"+bn, func(t *testing.T) {
				var sent, received atomic.Uint64
				// The idle timeout makes the slices short; it does not come.
				client, server, done := joined(t, Link{Idle: 2 * time.Second, AToB: &sent, BToA: &received}, a, b)
				burst := bytes.Repeat([]byte("0123456789abcde"), 40_000)
				got := make([]byte, len(burst))
				for i := range 6 {
					p := burst
					if i%2 == 1 {
						p = burst[:10] // less than it takes to stay with the kernel
					}
					go func() { _, _ = client.Write(p) }()
					if _, err := io.ReadFull(server, got[:len(p)]); err != nil || !bytes.Equal(got[:len(p)], p) {
						t.Fatalf("burst %d: %v", i, err)
					}
				}
				_ = client.CloseWrite()
				_, _ = server.Write([]byte("ok"))
				_ = server.Close()
				if p, err := io.ReadAll(client); string(p) != "ok" || err != nil {
					t.Errorf("%q, %v", p, err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if s, r := sent.Load(), received.Load(); s != 3*uint64(len(burst)+10) || r != 2 {
					t.Errorf("counted %d and %d", s, r)
				}
			})
		}
	}
}

// TestSplices leaves to the kernel what it can do.
func TestSplices(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux splices")
	}
	tcp, _ := tcpPair(t)
	unix, _ := pair(t)
	for _, tc := range []struct {
		dst, src Conn
		want     bool
	}{
		{tcp, tcp, true}, {tcp, unix, true}, {unix, tcp, true}, {unix, unix, false},
		{struct{ Conn }{tcp}, tcp, false},
	} {
		if got := splices(tc.dst, tc.src); got != tc.want {
			t.Errorf("%T from %T: %v", tc.dst, tc.src, got)
		}
	}
}

// TestCutShort resets one side: the other must not take what it has for all.
func TestCutShort(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "spliced": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			client, server, done := joined(t, Link{}, overTCP, overTCP)
			go func() { _, _ = server.Write(make([]byte, size)) }()
			p := make([]byte, size)
			if _, err := io.ReadFull(client, p); err != nil {
				t.Fatal(err)
			}
			if err := Reset(server); err != nil {
				t.Fatal(err)
			}
			if n, err := client.Read(p); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read %d, %v; want ECONNRESET", n, err)
			}
			if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Run: %v, want ECONNRESET", err)
			}
		})
	}
}

// TestTakesNoMore has a server that reads no more and answers still, while the
// client waits for room.
func TestTakesNoMore(t *testing.T) {
	client, server, done := joined(t, Link{}, overUnix, overUnix)
	if err := server.CloseRead(); err != nil {
		t.Fatal(err)
	}
	for p := make([]byte, 1<<20); ; {
		if _, err := client.Write(p); err != nil {
			if !errors.Is(err, syscall.EPIPE) {
				t.Errorf("write: %v, want EPIPE", err)
			}
			break
		}
	}
	if _, err := io.WriteString(server, "enough"); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	if p, err := io.ReadAll(client); string(p) != "enough" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	if err := <-done; !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Run: %v, want EPIPE", err)
	}
}

// TestIdle ends when nothing moves, also where writing is what waits.
func TestIdle(t *testing.T) {
	const idle = 80 * time.Millisecond
	for name, write := range map[string]bool{"silent": false, "stuck": true} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			client, server, done := joined(t, Link{Idle: idle}, overTCP, overTCP)
			if write {
				for _, c := range []Conn{client, server} { // neither reads
					go func() {
						for p := make([]byte, 1<<20); ; {
							if _, err := c.Write(p); err != nil {
								return
							}
						}
					}()
				}
			}
			if err := <-done; !errors.Is(err, ErrIdle) {
				t.Errorf("%v, want ErrIdle", err)
			}
			if took := time.Since(begun); took < idle {
				t.Errorf("ended after %v", took)
			}
		})
	}
}
