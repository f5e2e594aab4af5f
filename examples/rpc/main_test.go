package main

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"vsockets.dev/vsock"
	"vsockets.dev/vsock/vsocktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServeAndAdd(t *testing.T) {
	pair := vsocktest.NewPair(t)
	ln, err := vsock.Listen(t.Context(), pair.Guest, vsock.Addr{CID: vsock.CIDAny, Port: 4060})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(ln) }()
	d := &vsock.Dialer{Stack: pair.Host}
	if sum, err := add(t.Context(), d, "vsock:3:4060", []int{20, 22}); sum != 42 || err != nil {
		t.Errorf("%d, %v; want 42", sum, err)
	}
	if _, err := add(t.Context(), d, "3:4060", nil); err == nil || err.Error() != "nothing to add" {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := add(t.Context(), d, "3:4061", nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("where nobody listens: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the server ended with %v", err)
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"add"}, {"add", "3:1", "x"}, {"serve", "1", "2"}, {"serve", "nonsense"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
