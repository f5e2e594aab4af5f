//go:build linux || darwin

package vsock

import (
	"errors"
	"os"
	"syscall"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

var _ filer = (*kernelSocket)(nil)

func (s *kernelSocket) SyscallConn() (syscall.RawConn, error) {
	rc, err := s.c.SyscallConn()
	return rc, kernelError(err)
}

func (s *kernelSocket) File() (f *os.File, err error) {
	err = s.control(func(fd int) error {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			f = os.NewFile(uintptr(dup), "vsock")
		}
		return err
	})
	return f, err
}

// fileSocket makes a socket of a copy of f, if it is one of ours.
func fileSocket(f *os.File) (*kernelSocket, error) {
	c, err := socket.FileConn(f, "vsock")
	if err != nil {
		return nil, kernelError(err)
	}
	s := &kernelSocket{c: c}
	var typ int
	err = s.control(func(fd int) (err error) {
		if typ, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return err
		}
		sa, err := unix.Getsockname(fd)
		if _, ok := sa.(*unix.SockaddrVM); err == nil && !ok {
			err = unix.EAFNOSUPPORT
		}
		return err
	})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s.typ = Type(typ)
	return s, nil
}

// fileListens asks, where the system can tell.
func fileListens(s *kernelSocket) bool {
	var v int
	err := s.control(func(fd int) (err error) {
		v, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		return err
	})
	return errors.Is(err, unix.ENOPROTOOPT) || err == nil && v != 0
}

// takeListener makes a listener of a descriptor that the process was started with, and
// closes that.
func takeListener(fd uintptr) (*Listener, error) {
	// Only a copy may become a File before it is known to be ours: a File closes its
	// descriptor when it is collected.
	dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "socket")
	defer func() { _ = f.Close() }()
	l, err := FileListener(f)
	if err == nil {
		_ = unix.Close(int(fd))
	}
	return l, err
}
