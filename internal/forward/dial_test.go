package forward

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/vsock"
)

// TestDialFails tells a client of TCP that its answer is not an empty one.
func TestDialFails(t *testing.T) {
	b := newBed(t)
	f := b.start("tcp:0=vsock:3:9999")
	b.isReset(f)
	h := b.start("host:7000=unix:" + filepath.Join(b.dir, "none"))
	if n, err := b.dial(h).Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes of nobody", n)
	}
	for _, f := range []*Forwarder{f, h} {
		eventually(t, "the end", func() bool { return f.Counters().Active == 0 })
		if c := f.Counters(); c.DialFailed != 1 || c.Accepted != 1 {
			t.Errorf("%+v", c)
		}
	}
}

// stuck is a context in which connecting takes for ever where it is told to.
type stuck struct {
	vsock.Stack
	port atomic.Uint32
	held chan struct{}
}

type stuckSocket struct {
	vsock.Socket
	stuck *stuck
}

func (s *stuck) Socket(t vsock.Type) (vsock.Socket, error) {
	sock, err := s.Stack.Socket(t)
	return stuckSocket{sock, s}, err
}

func (s stuckSocket) Connect(ctx context.Context, a vsock.Addr) error {
	if a.Port == s.stuck.port.Load() {
		s.stuck.held <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Socket.Connect(ctx, a)
}

// TestDialHangs has one dial that waits for ever among others.
func TestDialHangs(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	b.serve(l)
	port := l.Addr().(vsock.Addr).Port
	s := &stuck{Stack: b.sw.Host(), held: make(chan struct{}, 1)}
	s.port.Store(port)
	f := b.start("tcp:0="+text, func(c *Config) {
		c.DialTimeout = time.Second
		c.Stack = func(Kind) (vsock.Stack, error) { return s, nil }
	})
	begun := time.Now()
	slow := b.dial(f)
	<-s.held
	s.port.Store(0) // nobody else is dialling: the rest goes through
	if err := echoed(b.dial(f), []byte("quick")); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the others were held up: %v", took)
	}
	if _, err := slow.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want ECONNRESET", err)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("given up after %v", took)
	}

	// Close does not wait for the time limit.
	s.port.Store(port)
	f2 := b.start("tcp:0="+text, func(c *Config) {
		c.DialTimeout = time.Hour
		c.Stack = func(Kind) (vsock.Stack, error) { return s, nil }
	})
	b.dial(f2)
	<-s.held
	if err := f2.Close(); err != nil {
		t.Error(err)
	}
}

// TestBacklogFull is refused by a context that has no room.
func TestBacklogFull(t *testing.T) {
	b := newBed(t)
	l, err := (&vsock.ListenConfig{Stack: b.guest, Backlog: 1}).Listen(t.Context(), vsock.Addr{CID: vsock.CIDAny, Port: 500})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := b.start("tcp:0=vsock:3:500")
	keep := b.dial(f) // takes the only place, and stays
	defer keep.Close()
	eventually(t, "the first", func() bool { return l.Socket().Ready()&vsock.PollIn != 0 })
	b.isReset(f) // the backlog is full
}
