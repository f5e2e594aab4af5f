package vsock

import (
	"errors"
	"syscall"
	"testing"
)

func TestSystemdCount(t *testing.T) {
	for _, tc := range []struct {
		pid, fds string
		want     int
		err      error
	}{
		{"42", "2", 2, nil},
		{"42", "0", 0, nil},
		{"", "", 0, nil},
		{"41", "2", 0, nil}, // another process's
		{"42", "", 0, syscall.EINVAL},
		{"42", "-1", 0, syscall.EINVAL},
		{"42", "65536", 0, syscall.EINVAL},
	} {
		if got, err := systemdCount(tc.pid, tc.fds, 42); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("LISTEN_PID=%s LISTEN_FDS=%s: %d, %v; want %d, %v", tc.pid, tc.fds, got, err, tc.want, tc.err)
		}
	}
}
