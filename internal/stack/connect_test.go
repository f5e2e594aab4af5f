package stack

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/vsock"
)

func TestConnect(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(p peer)
		want   error
		after  time.Duration
		then   packet.Op // what the peer gets after
	}{
		{"response", func(p peer) { p.send(packet.OpResponse, nil) }, nil, 0, packet.OpShutdown},
		{"refused", func(p peer) { p.send(packet.OpReset, nil) }, syscall.ECONNRESET, 0, 0},
		{"data first", func(p peer) { p.write("x") }, syscall.EPROTO, 0, packet.OpReset},
		{"no answer", func(peer) {}, syscall.ETIMEDOUT, vsock.DefaultConnectTimeout, packet.OpReset},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				st := New(Config{CID: 2, Out: w})
				s, _ := st.Socket(vsock.Stream)
				start := time.Now()
				done := make(chan error)
				go func() { done <- s.Connect(context.Background(), vsock.Addr{CID: 3, Port: 80}) }()
				req := w.next(t, packet.OpRequest)
				if req.BufAlloc != uint32(vsock.DefaultBufferSize) || req.SrcPort < 1024 {
					t.Errorf("REQUEST: %v", &req)
				}
				tc.answer(peer{st, req.Reply(0)})
				if err := <-done; !errors.Is(err, tc.want) {
					t.Errorf("Connect: %v, want %v", err, tc.want)
				}
				if d := time.Since(start); d != tc.after {
					t.Errorf("after %v, want %v", d, tc.after)
				}
				_ = s.Close()
				if tc.then != 0 {
					w.next(t, tc.then)
				}
				w.none(t)
				_ = st.Close()
			})
		})
	}
}

// TestConnectNonblocking has nobody answer one who does not wait.
func TestConnectNonblocking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		st := New(Config{CID: 2, Out: w})
		defer st.Close()
		s, _ := st.Socket(vsock.Stream)
		defer s.Close()
		_ = s.SetNonblock(true)
		if err := s.Connect(t.Context(), vsock.Addr{CID: 3, Port: 80}); !errors.Is(err, syscall.EINPROGRESS) {
			t.Fatalf("Connect: %v", err)
		}
		w.next(t, packet.OpRequest)
		<-time.After(vsock.DefaultConnectTimeout - 1)
		synctest.Wait()
		w.none(t)
		<-time.After(time.Nanosecond)
		w.next(t, packet.OpReset)
		if err := s.Connect(t.Context(), vsock.Addr{CID: 3, Port: 80}); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Connect again: %v", err)
		}
	})
}

// jammed is a way to a peer that has no room, and says that it has whenever it is looked at.
type jammed struct {
	lease   spin.Lease
	waiting packet.Waker
}

func (*jammed) Hold()                {}
func (*jammed) Release()             {}
func (j *jammed) Lease() *spin.Lease { return &j.lease }

func (j *jammed) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	if p.Op == packet.OpReset {
		return 0, true
	}
	j.waiting = w
	return 0, false
}

func (j *jammed) Poll() bool {
	if j.waiting == nil {
		return false
	}
	j.waiting.Wake()
	return true
}

// TestConnectJammed has a REQUEST not get away, though there is room for it again and again.
func TestConnectJammed(t *testing.T) {
	for _, tc := range []struct {
		timeout, cancel time.Duration
		want            error
	}{{50 * time.Millisecond, time.Minute, syscall.ETIMEDOUT}, {time.Minute, 50 * time.Millisecond, context.DeadlineExceeded}} {
		j := &jammed{}
		st := New(Config{CID: 2, Out: j, Poller: func(uint32) spin.Ring { return j }})
		s, _ := st.Socket(vsock.Stream)
		if err := s.SetOption(vsock.ConnectTimeout, uint64(tc.timeout)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), tc.cancel)
		if err := s.Connect(ctx, vsock.Addr{CID: 3, Port: 80}); !errors.Is(err, tc.want) {
			t.Errorf("Connect: %v, want %v", err, tc.want)
		}
		cancel()
		_ = s.Close()
		_ = st.Close()
	}
}

// TestResetAtOnce has a peer accept and reset before Connect has seen either: it has
// succeeded, as it would have been found a moment earlier, and what comes after fails.
func TestResetAtOnce(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	sock, _ := st.Socket(vsock.Stream)
	defer sock.Close()
	s := sock.(*Socket)
	s.mu.Lock()
	c, err := s.open(vsock.Addr{CID: 3, Port: 80})
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	c.connect()
	req := w.next(t, packet.OpRequest)
	p := peer{st, req.Reply(0)}
	p.send(packet.OpResponse, nil)
	p.send(packet.OpReset, nil)
	if err := c.waitConnected(t.Context()); err != nil {
		t.Errorf("Connect: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Read: %v", err)
	}
}

// TestResponseToNothing has a peer that guesses a flow answer before it was asked.
func TestResponseToNothing(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	sock, _ := st.Socket(vsock.Stream)
	s := sock.(*Socket)
	s.mu.Lock()
	c, err := s.open(vsock.Addr{CID: 3, Port: 80})
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	h := packet.Header{SrcCID: 3, SrcPort: 80, DstCID: 2, DstPort: c.flow.local.Port, Type: packet.TypeStream}
	peer{st, h}.send(packet.OpResponse, nil)
	w.next(t, packet.OpReset)
	c.connect()
	w.none(t)
	if err := c.waitConnected(t.Context()); !errors.Is(err, syscall.EPROTO) {
		t.Errorf("Connect: %v", err)
	}
	if n := flows(st); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestConnectCancelled(t *testing.T) {
	w := newWire()
	st := New(Config{CID: 2, Out: w})
	defer st.Close()
	s, _ := st.Socket(vsock.Stream)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Connect(ctx, vsock.Addr{CID: 3, Port: 80}) }()
	w.next(t, packet.OpRequest)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Connect: %v", err)
	}
	w.next(t, packet.OpReset)
	if n := flows(st); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
