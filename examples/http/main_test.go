package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServeAndGet(t *testing.T) {
	pair := vsocktest.NewPair(t)
	ln, err := vsock.Listen(t.Context(), pair.Guest, vsock.Addr{CID: vsock.CIDAny, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, io.Discard) }()

	var out strings.Builder
	d := &vsock.Dialer{Stack: pair.Host}
	if err := get(t.Context(), d, "vsock://3:8080/some/path", &out); err != nil {
		t.Error(err)
	}
	if got, want := out.String(), "hello CID 2, this is /some/path\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := get(t.Context(), d, "vsock://3:8081/", &out); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("where nobody listens: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"get"}, {"serve", "1", "2"}, {"serve", "nonsense"}, {"get", "vsock://nonsense/"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
