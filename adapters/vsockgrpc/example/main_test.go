package main

import (
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestServeAndCheck(t *testing.T) {
	pair := vsocktest.NewPair(t)
	ln, err := vsock.Listen(t.Context(), pair.Guest, vsock.Addr{CID: vsock.CIDAny, Port: 50051})
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	d := &vsock.Dialer{Stack: pair.Host}
	var out strings.Builder
	if err := check(t.Context(), d, "vsock:3:50051", &out); err != nil || out.String() != "SERVING\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := check(t.Context(), d, "vsock:3:50052", &out); status.Code(err) != codes.Unavailable {
		t.Errorf("where nobody listens: %v", err)
	}
	srv.Stop()
	if err := <-served; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"check"}, {"serve", "1", "2"}, {"serve", "nonsense"}, {"check", "vsock:nonsense"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
