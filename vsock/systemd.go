package vsock

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// What systemd says to a program that it starts with sockets, sd_listen_fds(3).
const (
	systemdPID   = "LISTEN_PID"
	systemdFDs   = "LISTEN_FDS"
	systemdFirst = 3 // SD_LISTEN_FDS_START
)

// SystemdListeners gives the vSockets among the listening sockets that systemd started
// this program with (socket activation: ListenStream=vsock::1024 in a .socket unit). It
// gives none where systemd did not. Sockets of other families are left as they are;
// those that it gives, it takes and closes, so it is to be called once, early.
func SystemdListeners() ([]*Listener, error) {
	n, err := systemdCount(os.Getenv(systemdPID), os.Getenv(systemdFDs), os.Getpid())
	if err != nil {
		return nil, err
	}
	var lns []*Listener
	for fd := systemdFirst; fd < systemdFirst+n; fd++ {
		l, err := takeListener(uintptr(fd))
		if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.EBADF) {
			continue // another's, or taken already
		}
		if err != nil {
			for _, l := range lns {
				_ = l.Close()
			}
			return nil, fmt.Errorf("vsock: descriptor %d from systemd: %w", fd, err)
		}
		lns = append(lns, l)
	}
	return lns, nil
}

// systemdCount reads LISTEN_FDS, if LISTEN_PID says that it is meant for this process.
func systemdCount(pid, fds string, self int) (int, error) {
	if pid != strconv.Itoa(self) {
		return 0, nil
	}
	n, err := strconv.ParseUint(fds, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("vsock: %s=%q of systemd is no number of descriptors: %w", systemdFDs, fds, syscall.EINVAL)
	}
	return int(n), nil
}
