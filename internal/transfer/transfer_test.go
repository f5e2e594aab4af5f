package transfer

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = d.Close() })
	return c.(*net.UnixConn), d.(*net.UnixConn)
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
	*net.UnixConn
	at int
}

func (f *flip) Write(p []byte) (int, error) {
	if f.at < len(p) {
		p = append([]byte(nil), p...)
		p[f.at] ^= 1
	}
	f.at += 1 << 30
	return f.UnixConn.Write(p)
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
