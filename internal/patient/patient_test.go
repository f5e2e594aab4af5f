package patient

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// scripted is a listener that answers what a script says: nil is a connection. When that
// is over, it waits until it is closed.
type scripted struct {
	script []error
	calls  []time.Time
	closed chan struct{}
}

func (s *scripted) Accept() (net.Conn, error) {
	s.calls = append(s.calls, time.Now())
	if len(s.script) == 0 {
		<-s.closed
		return nil, net.ErrClosed
	}
	err := s.script[0]
	s.script = s.script[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: err}
	}
	return new(net.UnixConn), nil
}

func (s *scripted) Close() error {
	close(s.closed)
	return syscall.EIO
}

func (s *scripted) Addr() net.Addr { return nil }

func of(script ...error) (*Listener, *scripted, *bytes.Buffer) {
	var log bytes.Buffer
	s := &scripted{script: script, closed: make(chan struct{})}
	return New(s, slog.New(slog.NewTextHandler(&log, nil))), s, &log
}

// TestShort runs out of descriptors for a minute and more, and logs that once, and that it is
// over once.
func TestShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var script []error
		for range 100 {
			script = append(script, syscall.EMFILE)
		}
		l, s, log := of(append(script, nil, nil)...)
		begun := time.Now()
		for range 2 {
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		// 5 ms, doubled up to a second: 8 pauses of 1.275 s in all, and 92 of a second.
		if took := time.Since(begun); took != 92*time.Second+1275*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if first := s.calls[1].Sub(s.calls[0]); first != firstDelay {
			t.Errorf("first delay %v", first)
		}
		text := log.String()
		for what, want := range map[string]int{"connections wait": 2, "LimitNOFILE": 2, "accepted again": 1} {
			if n := strings.Count(text, what); n != want {
				t.Errorf("%d times %q, want %d:\n%s", n, what, want, text)
			}
		}
	})
}

// TestEdge alternates at the limit: the log does not grow with the connections.
func TestEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns = 1000
		var script []error
		for range conns {
			script = append(script, syscall.ENFILE, nil)
		}
		l, _, log := of(script...)
		begun := time.Now()
		for range conns {
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != conns*firstDelay {
			t.Errorf("it took %v", took)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
}

func TestEnds(t *testing.T) {
	for _, err := range []error{net.ErrClosed, io.EOF, syscall.EBADF, syscall.EINVAL} {
		l, _, log := of(err)
		if _, got := l.Accept(); !errors.Is(got, err) {
			t.Errorf("%v, want %v", got, err)
		}
		if log.Len() > 0 {
			t.Error(log)
		}
	}
}

// TestPasses goes on after what is about one connection, or of the moment.
func TestPasses(t *testing.T) {
	for _, err := range []error{syscall.ECONNABORTED, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPROTO, syscall.EPERM} {
		l, _, _ := of(err, nil)
		if _, got := l.Accept(); got != nil {
			t.Errorf("%v", got)
		}
	}
}

// TestCloses ends an Accept that waits for descriptors, and one that waits for a connection.
func TestCloses(t *testing.T) {
	for _, script := range [][]error{{syscall.EMFILE, syscall.EMFILE}, nil} {
		synctest.Test(t, func(t *testing.T) {
			l, _, _ := of(script...)
			done := make(chan error)
			go func() {
				_, err := l.Accept()
				done <- err
			}()
			synctest.Wait()
			for range 2 {
				if err := l.Close(); !errors.Is(err, syscall.EIO) {
					t.Errorf("Close: %v", err)
				}
			}
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v", err)
			}
		})
	}
}
