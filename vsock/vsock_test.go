package vsock_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// contexts gives two contexts in this program, the host's and another.
func contexts(t *testing.T) (host, other *vswitch.Context) {
	t.Helper()
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	other, err := sw.AddContext(vswitch.ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	return sw.Host(), other
}

func listener(t *testing.T, c *vsock.ListenConfig, port uint32) *vsock.Listener {
	t.Helper()
	ln, err := c.Listen(t.Context(), vsock.Addr{CID: vsock.CIDAny, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestErrors(t *testing.T) {
	host, other := contexts(t)
	ctx := t.Context()
	ln := listener(t, &vsock.ListenConfig{Stack: host}, 1024)
	conn, err := vsock.Dial(ctx, other, vsock.Addr{CID: 2, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, tc := range []struct {
		name string
		do   func() error
		want error
		text string
	}{
		{"port in use", func() error {
			_, err := vsock.Listen(ctx, host, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
			return err
		}, syscall.EADDRINUSE, "listen vsock any:1024"},
		{"not our CID", func() error {
			_, err := vsock.Listen(ctx, host, vsock.Addr{CID: 3, Port: 5})
			return err
		}, syscall.EADDRNOTAVAIL, "3:5"},
		{"refused, as VMCI says", func() error {
			_, err := vsock.Dial(ctx, other, vsock.Addr{CID: 2, Port: 9})
			return err
		}, syscall.ECONNREFUSED, "dial vsock 2:9: connection refused"},
		{"refused, as Linux says", func() error {
			_, err := vsock.Dial(ctx, other, vsock.Addr{CID: 2, Port: 9})
			return err
		}, syscall.ECONNRESET, "refused"},
		{"no such CID", func() error {
			_, err := vsock.Dial(ctx, host, vsock.Addr{CID: 99, Port: 9})
			return err
		}, syscall.ECONNREFUSED, "no such CID"},
		{"dial any", func() error {
			_, err := vsock.Dial(ctx, host, vsock.Addr{CID: vsock.CIDAny, Port: 9})
			return err
		}, syscall.EINVAL, "any:9"},
		{"cancelled", func() error {
			_, err := vsock.Dial(cancelled, host, vsock.Addr{CID: 3, Port: 9})
			return err
		}, context.Canceled, "3:9"},
		{"cancelled listen", func() error {
			_, err := vsock.Listen(cancelled, host, vsock.Addr{CID: 3, Port: 9})
			return err
		}, context.Canceled, "3:9"},
		{"bad address", func() error {
			_, err := (&vsock.Dialer{Stack: other}).DialContext(ctx, "tcp", "example")
			return err
		}, nil, "no port"},
		{"read deadline", func() error {
			_ = conn.SetReadDeadline(time.Unix(1, 0))
			_, err := conn.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded, "read vsock"},
		{"accept deadline", func() error {
			_, _ = ln.Accept() // takes conn's
			_ = ln.SetDeadline(time.Unix(1, 0))
			_, err := ln.Accept()
			return err
		}, os.ErrDeadlineExceeded, "accept vsock"},
		{"closed listener", func() error {
			_ = ln.Close()
			_, err := ln.Accept()
			return err
		}, net.ErrClosed, "accept"},
		{"closed connection", func() error {
			_ = conn.Close()
			_, err := conn.Write([]byte("x"))
			return err
		}, net.ErrClosed, "write"},
		{"closed twice", conn.Close, net.ErrClosed, "close"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.do()
			var op *net.OpError
			if !errors.As(err, &op) {
				t.Fatalf("%v (%T) is no *net.OpError", err, err)
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("%v is not %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%q does not contain %q", err, tc.text)
			}
			if timeout := errors.Is(tc.want, os.ErrDeadlineExceeded); op.Timeout() != timeout {
				t.Errorf("Timeout() is %v", op.Timeout())
			}
		})
	}
}

// TestHTTP sends requests by http.Transport.
func TestHTTP(t *testing.T) {
	host, other := contexts(t)
	ln := listener(t, &vsock.ListenConfig{Stack: other}, 80)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "for "+r.RemoteAddr)
	})}
	served := make(chan error)
	go func() { served <- srv.Serve(ln) }()

	transport := &http.Transport{DialContext: (&vsock.Dialer{Stack: host}).DialContext}
	res, err := (&http.Client{Transport: transport}).Get("http://3:80/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || !strings.HasPrefix(string(body), "for 2:") {
		t.Errorf("%q, %v", body, err)
	}
	transport.CloseIdleConnections()
	_ = srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestDialerOptions(t *testing.T) {
	host, other := contexts(t)
	ln := listener(t, &vsock.ListenConfig{Stack: host, Backlog: 1, Buffers: vsock.Buffers{Max: 4096, Min: 512, Size: 1 << 20}}, 1024)
	d := vsock.Dialer{
		Stack:     other,
		LocalAddr: &vsock.Addr{CID: 3, Port: 4000},
		Timeout:   time.Second,
		Buffers:   vsock.Buffers{Size: 8192},
	}
	c, err := d.Dial(t.Context(), vsock.Addr{CID: 2, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr(); got != (vsock.Addr{CID: 3, Port: 4000}) {
		t.Errorf("local address %v", got)
	}
	for _, tc := range []struct {
		s    vsock.Socket
		o    vsock.Option
		want uint64
	}{
		{ln.Socket(), vsock.BufferSize, 4096}, // clamped
		{ln.Socket(), vsock.BufferMinSize, 512},
		{c.Socket(), vsock.BufferSize, 4096}, // what the listener offered
		{c.Socket(), vsock.ConnectTimeout, uint64(time.Second)},
	} {
		if got, err := tc.s.Option(tc.o); got != tc.want || err != nil {
			t.Errorf("%v: %d, %v; want %d", tc.o, got, err, tc.want)
		}
	}
	if err := c.Socket().SetOption(vsock.BufferSize, 1); !errors.Is(err, syscall.EISCONN) {
		t.Errorf("setting an option of a connection: %v", err)
	}
	// The backlog of 1 is taken.
	if _, err := vsock.Dial(t.Context(), other, vsock.Addr{CID: 2, Port: 1024}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("beyond the backlog: %v", err)
	}
}

func TestNotSupported(t *testing.T) {
	host, _ := contexts(t)
	_, err := host.Socket(vsock.Type(99))
	for _, want := range []error{vsock.ErrNotSupported, syscall.ENOPROTOOPT, errors.ErrUnsupported} {
		if !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
	if s := vsock.Type(99).String(); !strings.Contains(s, "99") {
		t.Error(s)
	}
}
