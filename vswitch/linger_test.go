package vswitch

import (
	"errors"
	"syscall"
	"testing"

	"vsockets.dev/vsock"
)

// TestLinger has one end close by a reset.
func TestLinger(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	ctx, err := sw.AddContext(ContextConfig{CID: 3})
	if err != nil {
		t.Fatal(err)
	}
	c1, c2, err := connect(t, sw, from(t, ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	if err := c1.(*vsock.Conn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c1.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c2.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other end reads %v", err)
	}
}
