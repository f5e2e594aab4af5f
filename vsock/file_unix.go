//go:build linux || darwin

package vsock

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var _ filer = (*kernelSocket)(nil)

func (s *kernelSocket) SyscallConn() (syscall.RawConn, error) {
	if s.closed.Load() {
		return nil, net.ErrClosed
	}
	return s.rc, nil
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

// fileSocket makes a socket of a copy of f, if it is one of ours. Only then is it had not to
// block, which both share.
func fileSocket(f *os.File) (*kernelSocket, error) {
	fd, err := copyFD(f)
	if err != nil {
		return nil, err
	}
	t, err := typeOf(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	if err := doNotBlock(fd); err != nil {
		return nil, err
	}
	return newKernelSocket(fd, t)
}

// copyFD copies the descriptor of f.
func copyFD(f *os.File) (fd int, err error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	closed := rc.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if closed != nil { // by package os, in an error that matches nothing
		return 0, net.ErrClosed
	}
	return fd, err
}

// typeOf tells the type of a socket, if it is one of ours.
func typeOf(fd int) (Type, error) {
	t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	if _, ok := sa.(*unix.SockaddrVM); !ok {
		return 0, unix.EAFNOSUPPORT
	}
	return Type(t), nil
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
