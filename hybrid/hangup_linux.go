package hybrid

import (
	"syscall"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/relay"
)

// awaitHangup calls f when the peer of a Unix connection has closed it, and not
// merely ended what it sends. It returns then, or when c is closed.
func awaitHangup(c relay.Conn, f func()) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return
	}
	hungUp := false
	_ = rc.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(p, 0)
		hungUp = err == nil && p[0].Revents&unix.POLLHUP != 0
		return hungUp
	})
	if hungUp {
		f()
	}
}
