package vsock_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"vsockets.dev/vsock"
)

// These tests hold what Windows' stack does whatever the address family is, on one that
// every Windows has: see Inet. What TCP does otherwise than vSockets they leave out.

func inetListener(t *testing.T) *vsock.Listener {
	t.Helper()
	return listener(t, &vsock.ListenConfig{Stack: vsock.Inet()}, vsock.PortAny)
}

// inetPair gives both ends of a connection.
func inetPair(t *testing.T) (dialed, accepted vsock.Socket) {
	t.Helper()
	ln := inetListener(t)
	c, err := vsock.Dial(t.Context(), vsock.Inet(), ln.Addr().(vsock.Addr))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ln.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = a.Close() })
	return c.Socket(), a.Socket()
}

func TestInetNet(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ln, err := vsock.Listen(t.Context(), vsock.Inet(), vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny})
		if err != nil {
			return nil, nil, nil, err
		}
		defer ln.Close()
		if c1, err = vsock.Dial(t.Context(), vsock.Inet(), ln.Addr().(vsock.Addr)); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = ln.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}

func TestInetNonblock(t *testing.T) {
	ln := inetListener(t)
	l := ln.Socket()
	if err := l.SetNonblock(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Accept(); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("Accept of nothing: %v", err)
	}
	s, err := vsock.Inet().Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetNonblock(true); err != nil {
		t.Fatal(err)
	}
	to := ln.Addr().(vsock.Addr)
	if err := s.Connect(t.Context(), to); !errors.Is(err, syscall.EINPROGRESS) {
		t.Fatalf("Connect: %v", err)
	}
	if e := pollWindows(s, vsock.PollOut); e != vsock.PollOut {
		t.Errorf("events %#x", e)
	}
	if v, err := s.Option(vsock.PendingError); v != 0 || err != nil {
		t.Errorf("PendingError: %d, %v", v, err)
	}
	if err := s.Connect(t.Context(), to); !errors.Is(err, syscall.EISCONN) {
		t.Errorf("Connect again: %v", err)
	}
	if e := pollWindows(l, vsock.PollIn); e != vsock.PollIn {
		t.Errorf("listener: events %#x", e)
	}
	a, _, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	p := make([]byte, 9)
	if _, _, err := s.Recv(p, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("Recv of nothing: %v", err)
	}
	if _, err := a.Write([]byte("peeked")); err != nil {
		t.Fatal(err)
	}
	if e := pollWindows(s, vsock.PollIn); e != vsock.PollIn {
		t.Errorf("events %#x", e)
	}
	if v, err := s.Option(vsock.Unread); v != 6 || err != nil {
		t.Errorf("Unread: %d, %v", v, err)
	}
	for _, flags := range []vsock.Flags{vsock.MsgPeek, 0} {
		if n, _, err := s.Recv(p, flags); string(p[:n]) != "peeked" || err != nil {
			t.Errorf("flags %#x: %q, %v", flags, p[:n], err)
		}
	}
	for err == nil { // all that fits goes, then nothing
		_, err = s.Send(make([]byte, 1<<20), 0)
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Error(err)
	}
}

func pollWindows(s vsock.Socket, e vsock.Events) vsock.Events {
	fds := []vsock.PollFD{{Socket: s, Events: e}}
	vsock.Poll(fds, 10*time.Second)
	return fds[0].Revents
}

func TestInetRefused(t *testing.T) {
	ln := inetListener(t)
	to := ln.Addr().(vsock.Addr)
	_ = ln.Close()
	if _, err := vsock.Dial(t.Context(), vsock.Inet(), to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial: %v", err)
	}
	s, err := vsock.Inet().Socket(vsock.Stream)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.SetNonblock(true)
	if err := s.Connect(t.Context(), to); !errors.Is(err, syscall.EINPROGRESS) {
		t.Fatalf("Connect: %v", err)
	}
	if e := pollWindows(s, vsock.PollOut); e&vsock.PollErr == 0 {
		t.Errorf("events %#x", e)
	}
	if v, err := s.Option(vsock.PendingError); v != uint64(syscall.ECONNRESET) || err != nil {
		t.Errorf("PendingError: %d, %v", v, err)
	}
}

// TestInetConnectEnds fills a listener's backlog, so that a further connection waits on
// Linux's TCP, beneath Wine. Windows' own refuses it.
func TestInetConnectEnds(t *testing.T) {
	ln := listener(t, &vsock.ListenConfig{Stack: vsock.Inet(), Backlog: 1}, vsock.PortAny)
	to := ln.Addr().(vsock.Addr)
	d := vsock.Dialer{Stack: vsock.Inet(), Timeout: 50 * time.Millisecond}
	for range 16 {
		c, err := d.Dial(t.Context(), to)
		if err == nil {
			defer c.Close()
			continue
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if !errors.Is(err, syscall.ETIMEDOUT) {
			t.Fatalf("timeout: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		d.Timeout = time.Minute
		if _, err := d.Dial(ctx, to); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		return
	}
	t.Error("the backlog is without end")
}

// TestInetEnds ends calls that wait.
func TestInetEnds(t *testing.T) {
	recv := func(s vsock.Socket) error { _, err := s.Read(make([]byte, 9)); return err }
	peek := func(s vsock.Socket) error { _, _, err := s.Recv(make([]byte, 9), vsock.MsgPeek); return err }
	send := func(s vsock.Socket) error {
		for {
			if _, err := s.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	accept := func(s vsock.Socket) error { _, _, err := s.Accept(); return err }
	closed := func(s vsock.Socket) error { return s.Close() }
	soon := func() time.Time { return time.Now().Add(10 * time.Millisecond) }
	readDeadline := func(s vsock.Socket) error { return s.SetReadDeadline(soon()) }
	writeDeadline := func(s vsock.Socket) error { return s.SetWriteDeadline(soon()) }
	for _, tc := range []struct {
		name  string
		waits func(vsock.Socket) error
		ended func(vsock.Socket) error
		want  error
	}{
		{"recv, closed", recv, closed, net.ErrClosed},
		{"recv, deadline", recv, readDeadline, os.ErrDeadlineExceeded},
		{"recv, shut down", recv, func(s vsock.Socket) error { return s.Shutdown(vsock.ShutRead) }, io.EOF},
		{"peek, closed", peek, closed, net.ErrClosed},
		{"peek, deadline", peek, readDeadline, os.ErrDeadlineExceeded},
		{"send, closed", send, closed, net.ErrClosed},
		{"send, deadline", send, writeDeadline, os.ErrDeadlineExceeded},
		{"send, shut down", send, func(s vsock.Socket) error { return s.Shutdown(vsock.ShutWrite) }, syscall.EPIPE},
		{"accept, closed", accept, closed, net.ErrClosed},
		{"accept, deadline", accept, readDeadline, os.ErrDeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := inetPair(t)
			if tc.name[:6] == "accept" {
				s = inetListener(t).Socket()
			}
			result := make(chan error, 1)
			go func() { result <- tc.waits(s) }()
			if err := tc.ended(s); err != nil {
				t.Fatal(err)
			}
			if err := <-result; !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestInetHalfClose(t *testing.T) {
	c, a := inetPair(t)
	if e := pollWindows(c, vsock.PollOut); e != vsock.PollOut {
		t.Errorf("open: events %#x", e)
	}
	if err := c.Shutdown(vsock.ShutWrite); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); len(got) != 0 || err != nil {
		t.Errorf("after ShutWrite: %q, %v", got, err)
	}
	if e := pollWindows(a, vsock.PollRdHup); e != vsock.PollRdHup {
		t.Errorf("half-closed: events %#x", e)
	}
	if _, err := a.Write([]byte("still open")); err != nil {
		t.Fatal(err)
	}
	if err := a.Shutdown(vsock.ShutWrite); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "still open" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if e := pollWindows(a, 0); e != vsock.PollHup {
		t.Errorf("both have ended: events %#x", e)
	}
}

// TestInetPoll: a silent socket is not ready, and waiting for it ends with a byte.
func TestInetPoll(t *testing.T) {
	c, a := inetPair(t)
	d, _ := inetPair(t)
	read := []vsock.Socket{c, d}
	if n := vsock.Select(&read, nil, nil, 5*time.Millisecond); n != 0 {
		t.Errorf("%d ready of silent sockets", n)
	}
	for range 3 {
		began := make(chan struct{})
		go func() {
			close(began)
			_, _ = a.Write([]byte("x"))
		}()
		<-began
		read = []vsock.Socket{c, d}
		if n := vsock.Select(&read, nil, nil, 10*time.Second); n != 1 || read[0] != c {
			t.Fatalf("%d ready", n)
		}
		if n, err := c.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	notified := make(chan struct{})
	stop := d.Watch(vsock.PollIn, func() { close(notified) })
	defer stop()
	_ = d.Close()
	<-notified
	if e := d.Ready(); e != vsock.PollNval {
		t.Errorf("closed: events %#x", e)
	}
}

func TestInetDatagrams(t *testing.T) {
	open := func() vsock.Socket {
		s, err := vsock.Inet().Socket(vsock.Datagram)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if err := s.Bind(vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, r := open(), open()
	from, _ := s.LocalAddr()
	to, err := r.LocalAddr()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		room, n int
		got     vsock.Flags
	}{{9, 5, 0}, {2, 2, vsock.MsgTrunc}, {9, 5, 0}} {
		if n, err := s.SendTo([]byte("whole"), 0, to); n != 5 || err != nil {
			t.Fatalf("SendTo: %d, %v", n, err)
		}
		if n, got, sender, err := r.RecvFrom(make([]byte, tc.room), 0); n != tc.n || got != tc.got || sender != from || err != nil {
			t.Errorf("room %d: %d, %#x, from %v, %v", tc.room, n, got, sender, err)
		}
	}
}

// TestNoVMCI: where VMware's driver is not, that is said.
func TestNoVMCI(t *testing.T) {
	if _, err := vsock.AddressFamily(); err == nil {
		t.Skip("VMware's driver is here")
	}
	_, err := vsock.Dial(t.Context(), nil, vsock.Addr{CID: 2, Port: 1024})
	if !errors.Is(err, vsock.ErrNotSupported) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := vsock.LocalCID(); !errors.Is(err, vsock.ErrNotSupported) {
		t.Errorf("LocalCID: %v", err)
	}
	if _, err := vsock.Version(); !errors.Is(err, vsock.ErrNotSupported) {
		t.Errorf("Version: %v", err)
	}
}
