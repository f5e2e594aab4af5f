package switchd

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are made by a test, and wait as in a kernel's queue.
type pipes struct {
	queue  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{queue: make(chan net.Conn, 2*maxControlConns), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.queue:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(t *testing.T) net.Conn {
	near, far := net.Pipe()
	p.queue <- far
	t.Cleanup(func() { _ = near.Close() })
	return near
}

// controlIn serves a control socket in a bubble, which answers a request when it has read
// all of it, or could not.
func controlIn(t *testing.T, test func(t *testing.T, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		c := serveControl("pipe", p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				w.WriteHeader(http.StatusRequestTimeout)
			}
		}), slog.New(slog.DiscardHandler))
		test(t, p)
		c.close()
	})
}

// status reads the head of an answer.
func status(c net.Conn) (int, error) {
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	return r.StatusCode, r.Body.Close()
}

// TestControlConns has as many clients say nothing as there may be. One more waits until
// their time is up, and is then served.
func TestControlConns(t *testing.T) {
	controlIn(t, func(t *testing.T, p *pipes) {
		begun := time.Now()
		var silent sync.WaitGroup
		for range maxControlConns {
			c := p.dial(t)
			silent.Go(func() {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begun) != controlHeaderTime {
					t.Errorf("a silent one, after %v: %v", time.Since(begun), err)
				}
			})
		}
		synctest.Wait()
		c := p.dial(t)
		go func() { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }()
		if n, err := status(c); n != http.StatusOK || time.Since(begun) != controlHeaderTime {
			t.Errorf("one more, after %v: %d, %v", time.Since(begun), n, err)
		}
		silent.Wait()

		// It may ask again, but not stay for ever.
		answered := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(answered) != controlIdleTime {
			t.Errorf("it is kept for %v: %v", time.Since(answered), err)
		}
	})
}

// TestControlSlow has a request not come to its end.
func TestControlSlow(t *testing.T) {
	controlIn(t, func(t *testing.T, p *pipes) {
		begun := time.Now()
		c := p.dial(t)
		go func() { _, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123") }()
		if n, err := status(c); n != http.StatusRequestTimeout || time.Since(begun) != controlReadTime {
			t.Errorf("after %v: %d, %v", time.Since(begun), n, err)
		}
	})
}

// TestControlHeader sends a head that is too long.
func TestControlHeader(t *testing.T) {
	controlIn(t, func(t *testing.T, p *pipes) {
		c := p.dial(t)
		go func() {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
			for {
				if _, err := io.WriteString(c, "X-More: 0123456789abcdef\r\n"); err != nil {
					return
				}
			}
		}()
		if n, err := status(c); n != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// TestFileSize loads the largest file that is read, and one byte more.
func TestFileSize(t *testing.T) {
	path := t.TempDir() + "/f"
	text := make([]byte, maxFile+1)
	for i := range text {
		text[i] = '\n'
	}
	for _, tc := range []struct {
		size int
		ok   bool
	}{{maxFile, true}, {maxFile + 1, false}} {
		if err := os.WriteFile(path, text[:tc.size], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadFile(path); (err == nil) != tc.ok {
			t.Errorf("%d bytes: %v", tc.size, err)
		}
	}
}
