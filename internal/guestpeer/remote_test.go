package guestpeer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/vsock"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestWireError(t *testing.T) {
	for _, err := range []error{
		io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, vsock.ErrNotSupported,
		syscall.ECONNRESET, syscall.EINPROGRESS,
	} {
		if got := fromWire(ToWire(fmt.Errorf("wrapped: %w", err))); !errors.Is(got, err) {
			t.Errorf("%v arrives as %v", err, got)
		}
	}
	if err := fromWire(ToWire(nil)); err != nil {
		t.Errorf("nil arrives as %v", err)
	}
	if err := fromWire(ToWire(errors.New("something else"))); err == nil {
		t.Error("an error arrives as nil")
	}
}
