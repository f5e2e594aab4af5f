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

// fileSocket makes a socket of a copy of f, if it is one of ours.
func fileSocket(f *os.File) (*kernelSocket, error) {
	fd, err := copyFD(f)
	if err != nil {
		return nil, err
	}
	s, err := newKernelSocket(fd, 0)
	if err != nil {
		return nil, err
	}
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
		_ = s.Close()
		return nil, err
	}
	s.typ = Type(typ)
	return s, nil
}

// copyFD copies the descriptor of f, and has both not block: that is a flag of what they share.
func copyFD(f *os.File) (fd int, err error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := rc.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = doNotBlock(fd)
		}
	})
	if cerr != nil { // package os has an error for that which matches nothing
		return 0, net.ErrClosed
	}
	return fd, err
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
