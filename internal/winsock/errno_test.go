package winsock

import (
	"errors"
	"io"
	"syscall"
	"testing"
)

// TestError holds the numbers against winsock2.h's and winerror.h's: one of each kind,
// and what matters most to callers.
func TestError(t *testing.T) {
	for code, want := range map[uint32]error{
		0:     nil,
		10013: syscall.EACCES,
		10035: syscall.EAGAIN,
		10040: syscall.EMSGSIZE,
		10048: syscall.EADDRINUSE,
		10049: syscall.EADDRNOTAVAIL,
		10054: syscall.ECONNRESET,
		10056: syscall.EISCONN,
		10057: syscall.ENOTCONN,
		10058: syscall.EPIPE,
		10060: syscall.ETIMEDOUT,
		10061: syscall.ECONNREFUSED,
		10101: io.EOF,
		995:   syscall.ECANCELED,
		1225:  syscall.ECONNREFUSED,
		12345: syscall.Errno(12345),
	} {
		if got := Error(code); !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
	}
	if _, ok := codes[0]; ok {
		t.Error("0 is no error")
	}
}

func TestCut(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.ECONNRESET: true,
		syscall.ETIMEDOUT:  true,
		syscall.EAGAIN:     false,
		io.EOF:             false,
	} {
		if got := Cut(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
