package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// TestManyClients has a hundred at once.
func TestManyClients(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, Vsock}, {Host, TCP}, {Unix, Vsock}, {Host, Unix}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			b.serve(l)
			f := b.start(b.froms()[pair[0]] + "=" + text)
			data := pattern(100_000)
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					c, err := b.tryDial(f)
					if err == nil {
						err = echoed(c, data)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if err := f.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c := f.Counters(); c.Accepted != 100 || c.Active != 0 || c.Sent != uint64(100*len(data)) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestHTTP carries HTTP to a server in the guest, and to one outside.
func TestHTTP(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, Vsock}, {Host, TCP}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				all, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(all)
			})}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			f := b.start(b.froms()[pair[0]] + "=" + text)
			tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b.tryDial(f) }}
			client := &http.Client{Transport: tr, Timeout: patience}
			data := pattern(200_000)
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					for range 5 {
						resp, err := client.Post("http://test/", "", bytes.NewReader(data))
						if err != nil {
							t.Error(err)
							return
						}
						got, err := io.ReadAll(resp.Body)
						_ = resp.Body.Close()
						if !bytes.Equal(got, data) || err != nil {
							t.Errorf("%d bytes, %v", len(got), err)
						}
					}
				})
			}
			all.Wait()
			tr.CloseIdleConnections()
			if err := f.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			_ = srv.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

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

func TestMaxConns(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	f := b.start("tcp:0="+text, func(c *Config) { c.MaxConns = 2 })
	c1, c2 := b.dial(f), b.dial(f)
	b.accept(l)
	s2 := b.accept(l)
	b.isReset(f)
	if c := f.Counters(); c.Accepted != 2 || c.Refused != 1 || c.Active != 2 {
		t.Errorf("%+v", c)
	}
	_ = c1.Close()
	_ = c2.Close()
	_ = s2.Close()
	eventually(t, "a place", func() bool { return f.Counters().Active < 2 })
	b.dial(f)
	b.accept(l)
}

func TestAllow(t *testing.T) {
	sources := func(texts ...string) func(*Config) {
		return func(c *Config) {
			for _, s := range texts {
				src, err := ParseSource(s)
				if err != nil {
					t.Fatal(err)
				}
				c.Allow = append(c.Allow, src)
			}
		}
	}
	for _, tc := range []struct {
		from  Kind
		allow []string
		in    bool
	}{
		{Host, []string{"7", "3"}, true},
		{Host, []string{"7"}, false},
		{Vsock, []string{"3"}, true},
		{TCP, []string{"127.0.0.0/8"}, true},
		{TCP, []string{"::1", "10.0.0.0/8"}, false},
	} {
		t.Run(fmt.Sprintf("%s-%s", tc.from, tc.allow), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(Unix)
			b.serve(l)
			f := b.start(b.froms()[tc.from]+"="+text, sources(tc.allow...))
			c, err := b.tryDial(f)
			if err == nil {
				err = echoed(c, []byte("hello"))
				_ = c.Close()
			}
			if (err == nil) != tc.in {
				t.Errorf("%v, want in: %v", err, tc.in)
			}
			if got := f.Counters().Denied; (got == 0) != tc.in {
				t.Errorf("denied %d", got)
			}
		})
	}
	for from, allow := range map[string]string{"tcp:0": "3", "host:1": "10.0.0.0/8", "unix:/x": "3", "stdio": "3"} {
		c := Config{Spec: spec(t, from+"=tcp:9")}
		sources(allow)(&c)
		if f, err := Start(t.Context(), c); err == nil {
			_ = f.Close()
			t.Errorf("%s took an allow list of %s", from, allow)
		}
	}
}

func TestDrain(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	f := b.start("tcp:0=" + text)
	client, server := b.dial(f), b.accept(l)
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Drain(now); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 connections have not ended") {
		t.Errorf("%v", err)
	}
	if c, err := b.tryDial(f); err == nil {
		_ = c.Close()
		t.Error("it listens while it drains")
	}
	// What is there goes on.
	done := make(chan error, 1)
	go func() { done <- f.Drain(t.Context()) }()
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Error(err)
	}
	if n, err := server.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_ = client.Close()
	_ = server.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := f.Wait(); err != nil {
		t.Error(err)
	}
}

// TestCloseWhileBusy closes under running transfers.
func TestCloseWhileBusy(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, Vsock}, {Host, TCP}, {TCP, TCP}, {Unix, TCP}, {Unix, Unix}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			f := b.start(b.froms()[pair[0]] + "=" + text)
			var all sync.WaitGroup
			for range 4 {
				client, server := b.dial(f), b.accept(l)
				for _, c := range []relay.Conn{client, server} {
					all.Go(func() { _, _ = io.Copy(struct{ io.Writer }{io.Discard}, c) })
					all.Go(func() {
						for p := make([]byte, 64<<10); ; {
							if _, err := c.Write(p); err != nil {
								return
							}
						}
					})
				}
			}
			eventually(t, "traffic", func() bool { return f.Counters().Sent > 1<<20 })
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			all.Wait()
			if c := f.Counters(); c.Active != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestCutShort resets the far end in the middle of an answer: the client must not
// take it for a whole one.
func TestCutShort(t *testing.T) {
	b := newBed(t)
	guest, err := b.sw.AddContext(vswitch.ContextConfig{CID: 9})
	if err != nil {
		t.Fatal(err)
	}
	l, err := vsock.Listen(t.Context(), guest, vsock.Addr{CID: vsock.CIDAny, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := b.start("tcp:0=vsock:9:1")
	client, server := b.dial(f), b.accept(l)
	if _, err := io.WriteString(server, "half an ans"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the half", func() bool { return f.Counters().Received > 0 })
	if err := guest.Close(); err != nil { // as if it was switched off
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v; want ECONNRESET", got, err)
	}
}

// TestEarlyAnswer has a server that stops reading, and then answers.
func TestEarlyAnswer(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	f := b.start("unix:" + filepath.Join(b.dir, "s") + "=" + text)
	client, server := b.dial(f), b.accept(l)
	if err := server.CloseRead(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := client.Write(make([]byte, 1000)); err != nil {
			if !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%v, want EPIPE", err)
			}
			break
		}
	}
	if _, err := io.WriteString(server, "too much"); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	if got, err := io.ReadAll(client); string(got) != "too much" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestIdleTimeout(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, TCP}, {Host, Unix}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			f := b.start(b.froms()[pair[0]]+"="+text, func(c *Config) { c.IdleTimeout = 200 * time.Millisecond })
			client, server := b.dial(f), b.accept(l)
			begun := time.Now()
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			// One byte at a time keeps it.
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range 8 {
				<-tick.C
				if _, err := server.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := io.ReadAll(client)
			if took := time.Since(begun); len(got) != 8 || took < 600*time.Millisecond {
				t.Errorf("%d bytes, ended after %v", len(got), took)
			}
		})
	}
}

// broken is a listener that fails for a while.
type broken struct {
	net.Listener
	fails int
	tries int
}

func (l *broken) Accept() (net.Conn, error) {
	if l.tries++; l.tries <= l.fails {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// TestAcceptGoesOn gets no descriptors for a while.
func TestAcceptGoesOn(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	b.serve(l)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Spec: spec(t, "tcp:0="+text), Stack: b.stack}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	f := run(c, &broken{Listener: inner, fails: 3})
	if err := echoed(b.dial(f), []byte("hello")); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}

	// It stops at once while it waits.
	if inner, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f = run(c, &broken{Listener: inner, fails: 1 << 30})
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestListenerLost ends a forward whose context is taken away.
func TestListenerLost(t *testing.T) {
	b := newBed(t)
	f := b.start("kernel:any:any=tcp:9")
	if err := f.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

func TestStartRefuses(t *testing.T) {
	b := newBed(t)
	b.start("host:7000=tcp:9")
	tcp := b.start("tcp:0=tcp:9")
	for text, want := range map[string]string{
		"host:7000=tcp:9":            "choose another port",
		tcpText(tcp) + "=tcp:9":      "choose another port",
		"vsock:77:1=tcp:9":           "not one of this side's",
		"unix:/nowhere/at/all=tcp:9": "create it",
		"exec:/no/such/thing=tcp:9":  "is it installed",
	} {
		f, err := Start(t.Context(), Config{Spec: spec(t, text), Stack: b.stack})
		if err == nil {
			_ = f.Close()
			t.Errorf("%s: started", text)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), spec(t, text).String()) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	if _, err := Start(t.Context(), Config{Spec: spec(t, "host:1=tcp:9")}); err == nil || !strings.Contains(err.Error(), "only a switch") {
		t.Errorf("no stack: %v", err)
	}
	for name, c := range map[string]Config{
		"dial":  {DialTimeout: -1},
		"idle":  {IdleTimeout: -1},
		"conns": {MaxConns: -1},
	} {
		c.Spec = spec(t, "tcp:0=tcp:9")
		if f, err := Start(t.Context(), c); err == nil {
			_ = f.Close()
			t.Errorf("%s: a negative value was taken", name)
		}
	}
}

func tcpText(f *Forwarder) string { return "tcp:" + f.Addr().String() }

// TestUnixMode listens where nobody else may connect, and removes the socket.
func TestUnixMode(t *testing.T) {
	b := newBed(t)
	path := filepath.Join(b.dir, "s")
	f := b.start("unix:" + path + "=tcp:9")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is there still: %v", err)
	}
}
