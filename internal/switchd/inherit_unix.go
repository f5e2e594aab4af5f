//go:build unix

package switchd

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkListening refuses a socket that connections cannot come from: net takes any
// socket for a listener.
func checkListening(l *net.UnixListener) error {
	rc, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var typ, listens int
	var terr, lerr error
	err = rc.Control(func(fd uintptr) {
		typ, terr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
		listens, lerr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	})
	if err := errors.Join(err, terr, lerr); err != nil {
		return err
	}
	if typ != syscall.SOCK_STREAM || listens == 0 {
		return errors.New("it is not a stream socket that listens; use ListenStream= with Accept=no")
	}
	return nil
}
