package forward

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

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

// TestDefaults are those that the documentation tells.
func TestDefaults(t *testing.T) {
	s, err := ParseSpec("tcp:0=host:1")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Spec: s}
	if err := c.complete(); err != nil || c.MaxConns != DefaultMaxConns || c.DialTimeout != DefaultDialTimeout || c.IdleTimeout != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}
