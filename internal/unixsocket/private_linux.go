package unixsocket

import (
	"context"
	"net"
	"os"
	"syscall"
)

// private listens on a path, with a socket that is for its owner only from its first
// moment on: Linux gives the file the mode that the descriptor has, less the umask.
func private(path string) (*net.UnixListener, os.FileInfo, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(privateMode)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	nl, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	l := nl.(*net.UnixListener) //nolint:forcetypeassert // the network says so
	l.SetUnlinkOnClose(false)
	made, err := os.Lstat(path)
	if err == nil && made.Mode().Perm() != privateMode { // an umask that takes the owner's rights too
		err = os.Chmod(path, privateMode)
	}
	return l, made, err
}
