package hybrid

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SyscallConn gives the Unix socket of a connection or listener, for vsock.Conn and
// vsock.Listener. Beyond the handshake it is the stream and nothing else.
func (s *socket) SyscallConn() (syscall.RawConn, error) {
	sc := s.unixSocket()
	if sc == nil {
		return nil, syscall.ENOTCONN
	}
	rc, err := sc.SyscallConn()
	return rc, bare(err)
}

// File gives a copy of that Unix socket.
func (s *socket) File() (f *os.File, err error) {
	rc, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dup int
	var derr error
	if err := rc.Control(func(fd uintptr) { dup, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, bare(err)
	}
	if derr != nil {
		return nil, derr
	}
	return os.NewFile(uintptr(dup), s.st.path), nil
}
