package vhostuser

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
)

// takeKick and takeCall take the only descriptor of a message, which must be of a kind
// that is known: whatever else a front-end could pass as a doorbell may block whoever
// touches it, or keep a file open that is none of ours.
func (m *message) takeKick() (*eventfd.Event, error) {
	fd := m.fds[0]
	if !isEventfd(fd) {
		return nil, errNoDoorbell
	}
	m.fds = nil
	return eventfd.Wrap(fd)
}

func (m *message) takeCall() (*eventfd.Bell, error) {
	fd := m.fds[0]
	if !isCall(fd) {
		return nil, errNoDoorbell
	}
	m.fds = nil
	return eventfd.NewBell(fd)
}

var errNoDoorbell = errors.New("the descriptor is not an eventfd")

// isEventfd says whether fd is an eventfd. The kernel tells by no other way than
// the name of the file.
func isEventfd(fd int) bool {
	var b [64]byte
	n, err := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd), b[:])
	return err == nil && string(b[:n]) == "anon_inode:[eventfd]"
}

// isCall says whether fd is an eventfd or a Unix stream socket. User Mode Linux
// waits for signals in a way that eventfds do not know, so its calls are sockets.
func isCall(fd int) bool { return isEventfd(fd) || isStreamSocket(fd) }

func isStreamSocket(fd int) bool {
	return hasOption(fd, unix.SO_DOMAIN, unix.AF_UNIX) && hasOption(fd, unix.SO_TYPE, unix.SOCK_STREAM)
}

func hasOption(fd, option, want int) bool {
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	return err == nil && got == want
}
