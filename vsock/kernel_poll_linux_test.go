package vsock_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/vsock"
)

func pollOne(s vsock.Socket, e vsock.Events) vsock.Events {
	fds := []vsock.PollFD{{Socket: s, Events: e}}
	vsock.Poll(fds, 10*time.Second)
	return fds[0].Revents
}

func TestKernelNonblock(t *testing.T) {
	requireGuest(t)
	ln := kernelListener(t)
	l := ln.Socket()
	if err := l.SetNonblock(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Accept(); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("Accept of nothing: %v", err)
	}
	for _, tc := range []struct {
		name string
		port uint32
		want uint64
	}{
		{"refused", 9, uint64(syscall.ECONNRESET)},
		{"accepted", ln.Addr().(vsock.Addr).Port, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := vsock.Kernel().Socket(vsock.Stream)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.SetNonblock(true); err != nil {
				t.Fatal(err)
			}
			to := vsock.Addr{CID: vsock.CIDLocal, Port: tc.port}
			if err := s.Connect(t.Context(), to); !errors.Is(err, syscall.EINPROGRESS) {
				t.Fatalf("Connect: %v", err)
			}
			if e := pollOne(s, vsock.PollOut); e&vsock.PollOut == 0 {
				t.Errorf("events %#x", e)
			}
			if v, err := s.Option(vsock.PendingError); v != tc.want || err != nil {
				t.Errorf("PendingError: %d, %v; want %d", v, err, tc.want)
			}
			if tc.want != 0 {
				return
			}
			if err := s.Connect(t.Context(), to); !errors.Is(err, syscall.EISCONN) {
				t.Errorf("Connect again: %v", err)
			}
			if e := pollOne(l, vsock.PollIn); e != vsock.PollIn {
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
			if e := pollOne(s, vsock.PollIn); e&vsock.PollIn == 0 {
				t.Errorf("events %#x", e)
			}
			for _, flags := range []vsock.Flags{vsock.MsgPeek, 0} {
				if n, _, err := s.Recv(p, flags); string(p[:n]) != "peeked" || err != nil {
					t.Errorf("flags %#x: %q, %v", flags, p[:n], err)
				}
			}
			// All that fits goes, then nothing.
			for {
				n, err := s.Send(make([]byte, 300_000), 0)
				if errors.Is(err, syscall.EAGAIN) && n == 0 {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("Send: %d, %v", n, err)
				}
			}
		})
	}
}

func TestKernelSelect(t *testing.T) {
	requireGuest(t)
	c, a := kernelPair(t, vsock.Stream)
	d, _ := kernelPair(t, vsock.Stream)
	read := []vsock.Socket{c, d}
	if n := vsock.Select(&read, nil, nil, 5*time.Millisecond); n != 0 || len(read) != 0 {
		t.Errorf("%d ready of silent sockets", n)
	}
	for _, tc := range []struct {
		name  string
		event func() error
		want  vsock.Events
	}{
		{"data", func() error { _, err := a.Write([]byte("x")); return err }, vsock.PollIn},
		{"half-close", func() error { return a.Shutdown(vsock.ShutWrite) }, vsock.PollRdHup},
	} {
		got := make(chan vsock.Events, 1)
		go func() { got <- pollOne(c, tc.want) }()
		if err := tc.event(); err != nil {
			t.Fatal(err)
		}
		if e := <-got; e != tc.want {
			t.Errorf("%s: events %#x, want %#x", tc.name, e, tc.want)
		}
	}
	read, write := []vsock.Socket{c, d}, []vsock.Socket{d}
	if n := vsock.Select(&read, &write, nil, vsock.Infinite); n != 2 || len(read) != 1 || read[0] != c || len(write) != 1 {
		t.Errorf("Select: %d, read %v, write %v", n, read, write)
	}
}

func TestKernelWatchClose(t *testing.T) {
	requireGuest(t)
	c, a := kernelPair(t, vsock.Stream)
	news := make(chan struct{}, 2)
	stop := c.Watch(vsock.PollIn, func() { news <- struct{}{} })
	quiet := c.Watch(vsock.PollIn, func() { t.Error("notified after stop") })
	quiet()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-news
	stop()
	if len(news) != 0 {
		t.Error("notified twice")
	}
	if e := c.Ready(); e != vsock.PollNval {
		t.Errorf("events of a closed socket: %#x", e)
	}
	if e := pollOne(a, vsock.PollRdHup); e&vsock.PollRdHup == 0 {
		t.Errorf("a watch keeps the connection up: events %#x", e)
	}
	stop = c.Watch(vsock.PollIn, func() { news <- struct{}{} })
	<-news
	stop()
	for name, err := range map[string]error{
		"Close":       c.Close(),
		"SetNonblock": c.SetNonblock(true),
		"Shutdown":    c.Shutdown(vsock.ShutBoth),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s of a closed socket: %v", name, err)
		}
	}
}

func TestKernelTypesAndOptions(t *testing.T) {
	requireGuest(t)
	for _, typ := range []vsock.Type{vsock.Datagram, 99} {
		if _, err := vsock.Kernel().Socket(typ); !errors.Is(err, vsock.ErrNotSupported) {
			t.Errorf("%v: %v", typ, err)
		}
	}
	c, a := kernelPair(t, vsock.Stream)
	if c.Type() != vsock.Stream || a.Type() != vsock.Stream {
		t.Error(c.Type(), a.Type())
	}
	for _, o := range []vsock.Option{vsock.PendingError, vsock.Unread, vsock.Unsent} {
		if err := c.SetOption(o, 1); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("setting %v: %v", o, err)
		}
	}
	for _, o := range []vsock.Option{vsock.PeerHostVMID, vsock.Trusted, vsock.NonblockTxRx, vsock.Unread, vsock.Unsent, 99} {
		if v, err := c.Option(o); err != nil && !errors.Is(err, vsock.ErrNotSupported) {
			t.Errorf("%v: %d, %v", o, v, err)
		} else {
			t.Logf("%v: %d, %v", o, v, err)
		}
	}
	if err := c.SetOption(vsock.ReceiveLowWater, 4); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Option(vsock.ReceiveLowWater); v != 4 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	for _, step := range []struct {
		send string
		want vsock.Events
	}{{"abc", 0}, {"d", vsock.PollIn}} {
		if _, err := a.Write([]byte(step.send)); err != nil {
			t.Fatal(err)
		}
		timeout := 5 * time.Millisecond // for what must not come
		if step.want != 0 {
			timeout = 10 * time.Second
		}
		fds := []vsock.PollFD{{Socket: c, Events: vsock.PollIn}}
		vsock.Poll(fds, timeout)
		if fds[0].Revents != step.want {
			t.Errorf("after %q: events %#x, want %#x", step.send, fds[0].Revents, step.want)
		}
	}
}
