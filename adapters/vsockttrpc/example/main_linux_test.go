package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/ttrpc"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestServeAndCall(t *testing.T) {
	pair := vsocktest.NewPair(t)
	ln, err := vsock.Listen(t.Context(), pair.Guest, vsock.Addr{CID: vsock.CIDAny, Port: 4070})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	want, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	d := &vsock.Dialer{Stack: pair.Host}
	if got, err := kernel(t.Context(), d, "vsock://3:4070"); got != strings.TrimSpace(string(want)) || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := kernel(t.Context(), d, "3:4071"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody listens: %v", err)
	}
	if _, err := kernel(t.Context(), &vsock.Dialer{Stack: pair.Guest}, "3:4070"); err == nil {
		t.Error("a caller that is not the host is served")
	}
	_ = srv.Close()
	if err := <-served; !errors.Is(err, ttrpc.ErrServerClosed) {
		t.Errorf("the server ended with %v", err)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"kernel"}, {"serve", "1", "2"}, {"serve", "nonsense"}, {"kernel", "vsock:nonsense"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
