package transfer

import (
	"errors"
	"io"
	"strings"
	"testing"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func pair(t *testing.T) (a, b *vsock.Conn) {
	t.Helper()
	n := vsocktest.NewPair(t)
	l, err := vsock.Listen(t.Context(), n.Host, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		t.Fatal(err)
	}
	if a, err = vsock.Dial(t.Context(), n.Guest, l.Addr().(vsock.Addr)); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptConn(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestTransfer(t *testing.T) {
	for _, n := range []int64{0, 1, blockSize, 3*patternSize + 5} {
		a, b := pair(t)
		got := make(chan int64)
		go func() {
			n, err := Receive(b, nil)
			if err != nil {
				t.Error(err)
			}
			got <- n
		}()
		var told int64
		if err := Send(a, n, 1, func(k int) { told += int64(k) }); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if r := <-got; r != n || told != n {
			t.Errorf("sent %d, received %d, told %d", n, r, told)
		}
	}
}

// flip is a connection that damages one byte.
type flip struct {
	*vsock.Conn
	at int
}

func (f *flip) Write(p []byte) (int, error) {
	if f.at < len(p) {
		p = append([]byte(nil), p...)
		p[f.at] ^= 1
	}
	f.at += 1 << 30
	return f.Conn.Write(p)
}

func TestDamage(t *testing.T) {
	a, b := pair(t)
	go func() { _, _ = Receive(b, nil) }()
	err := Send(&flip{a, 100}, 1000, 1, nil)
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("damaged bytes: %v", err)
	}
}

func TestCutShort(t *testing.T) {
	a, b := pair(t)
	go func() {
		_, _ = io.CopyN(io.Discard, b, 10)
		_ = b.Close()
	}()
	if err := Send(a, 1<<20, 1, nil); err == nil {
		t.Error("a transfer that was cut short counts as done")
	}
}

// echo sends back what comes, changed by f.
func echo(c *vsock.Conn, f func([]byte)) {
	buf := make([]byte, blockSize)
	for {
		n, err := c.Read(buf)
		f(buf[:n])
		if _, e := c.Write(buf[:n]); err != nil || e != nil {
			_ = c.Close()
			return
		}
	}
}

func TestExchange(t *testing.T) {
	for _, tc := range []struct {
		name  string
		n     int64
		serve func(*vsock.Conn)
		want  error
	}{
		{"nothing", 0, func(c *vsock.Conn) { echo(c, func([]byte) {}) }, nil},
		{"much", 3*patternSize + 5, func(c *vsock.Conn) { echo(c, func([]byte) {}) }, nil},
		{"damaged", patternSize, func(c *vsock.Conn) { echo(c, func(b []byte) { clear(b) }) }, ErrCorrupt},
		{"cut short", patternSize, func(c *vsock.Conn) {
			_, _ = io.CopyN(c, c, 10)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}, ErrCut},
		{"too much", 1, func(c *vsock.Conn) {
			_, _ = io.Copy(c, c)
			_, _ = c.Write([]byte{0})
			_ = c.Close()
		}, ErrCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := pair(t)
			go tc.serve(b)
			if err := Exchange(a, tc.n, 5); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			_ = a.Close()
		})
	}
}
