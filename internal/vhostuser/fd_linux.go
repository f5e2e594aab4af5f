package vhostuser

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
)

// takeEvent takes the only descriptor of a message, which must be of a kind that
// is known: whatever else a front-end could pass as a doorbell may block whoever
// touches it, or keep a file open that is none of ours.
func (m *message) takeEvent(known func(fd int) bool) (*eventfd.Event, error) {
	fd := m.fds[0]
	if !known(fd) {
		return nil, errors.New("the descriptor is not an eventfd")
	}
	m.fds = nil
	return eventfd.Wrap(fd)
}

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
