//go:build linux || darwin

package vsock

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type kernelStack struct{}

// Socket gives ErrNotSupported for what the kernel does not have: datagrams unless
// it is Linux with VMCI's transport, the only one that carries them, and on macOS
// all but streams.
func (kernelStack) Socket(t Type) (Socket, error) {
	switch t {
	case Stream, Datagram, Seqpacket:
	default:
		return nil, ErrNotSupported
	}
	fd, err := socketFD(t)
	switch {
	case errors.Is(err, unix.ESOCKTNOSUPPORT), errors.Is(err, unix.EPROTOTYPE),
		t == Datagram && errors.Is(err, unix.ENODEV):
		return nil, ErrNotSupported
	case err != nil:
		return nil, err
	}
	s, err := newKernelSocket(fd, t)
	if err != nil {
		return nil, err // and not a Socket that is a nil pointer
	}
	return s, nil
}

// kernelSocket is a socket of the kernel, in the runtime's poller. For the kernel
// it never blocks; waiting is the runtime's, and nonblock says whether to.
type kernelSocket struct {
	f        *os.File
	rc       syscall.RawConn // of f
	typ      Type
	nonblock atomic.Bool
	closed   atomic.Bool
	shutSend atomic.Bool // Shutdown has ended sending
	connect  connectState
	watches  kernelWatches
	messages kernelMessages
}

// newKernelSocket takes over a descriptor that does not block, and closes it if that fails.
func newKernelSocket(fd int, t Type) (*kernelSocket, error) {
	f := os.NewFile(uintptr(fd), "vsock")
	rc, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &kernelSocket{f: f, rc: rc, typ: t}, nil
}

// doNotBlock closes fd if it cannot be had not to block.
func doNotBlock(fd int) error {
	err := unix.SetNonblock(fd, true)
	if err != nil {
		_ = unix.Close(fd)
	}
	return err
}

func (s *kernelSocket) Type() Type { return s.typ }

func (s *kernelSocket) SetNonblock(on bool) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	s.nonblock.Store(on)
	return nil
}

func (s *kernelSocket) Bind(a Addr) error {
	return s.control(func(fd int) error { return unix.Bind(fd, sockaddr(a)) })
}

func (s *kernelSocket) Listen(backlog int) error {
	return s.control(func(fd int) error { return unix.Listen(fd, backlog) })
}

func (s *kernelSocket) Accept() (Socket, Addr, error) {
	var fd int
	var sa unix.Sockaddr
	err := s.wait(syscall.RawConn.Read, 0, func(l int) (err error) {
		fd, sa, err = acceptFD(l)
		return err
	})
	if err != nil {
		return nil, Addr{}, err
	}
	a, err := fromSockaddr(sa)
	if err != nil {
		_ = unix.Close(fd)
		return nil, Addr{}, err
	}
	c, err := newKernelSocket(fd, s.typ)
	if err != nil {
		return nil, Addr{}, err
	}
	return c, a, nil
}

func (s *kernelSocket) Shutdown(how How) error {
	var h int
	switch how {
	case ShutRead:
		h = unix.SHUT_RD
	case ShutWrite:
		h = unix.SHUT_WR
	case ShutBoth:
		h = unix.SHUT_RDWR
	default:
		return syscall.EINVAL
	}
	if err := s.control(func(fd int) error { return unix.Shutdown(fd, h) }); err != nil {
		return err
	}
	if how&ShutWrite != 0 {
		s.wakeSenders()
	}
	return nil
}

// Close ends a message that is half sent, and the watches, which the kernel does
// not tell.
func (s *kernelSocket) Close() error {
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	s.messages.close(s)
	err := s.f.Close()
	s.watches.close()
	return kernelError(err)
}

// LocalAddr puts the real CID in place of the wildcard that the kernel keeps for
// a socket bound to any, as the guide says of bind. One that is not bound has it.
func (s *kernelSocket) LocalAddr() (Addr, error) {
	a, err := s.name(unix.Getsockname)
	if err == nil && a.CID == CIDAny && a.Port != PortAny {
		if cid, err := (kernelStack{}).LocalCID(); err == nil {
			a.CID = cid
		}
	}
	return a, err
}

func (s *kernelSocket) RemoteAddr() (Addr, error) {
	return s.name(unix.Getpeername)
}

// name is what one of two system calls tells.
func (s *kernelSocket) name(of func(fd int) (unix.Sockaddr, error)) (Addr, error) {
	var sa unix.Sockaddr
	err := s.control(func(fd int) (err error) {
		sa, err = of(fd)
		return err
	})
	if err != nil {
		return Addr{}, err
	}
	return fromSockaddr(sa)
}

// SetDeadline sets both at once, which is one change in the runtime's poller and not two.
func (s *kernelSocket) SetDeadline(t time.Time) error {
	s.messages.setDeadline(s, t)
	return s.rawError(s.f.SetDeadline(t))
}

func (s *kernelSocket) SetReadDeadline(t time.Time) error {
	return s.rawError(s.f.SetReadDeadline(t))
}

func (s *kernelSocket) SetWriteDeadline(t time.Time) error {
	s.messages.setDeadline(s, t)
	return s.rawError(s.f.SetWriteDeadline(t))
}

// control makes a system call that does not wait.
func (s *kernelSocket) control(f func(fd int) error) error {
	var ferr error
	if err := s.rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return s.rawError(err)
	}
	return ferr
}

// rawError is kernelError for deadlines and RawConn of package os, whose error after Close
// matches nothing.
func (s *kernelSocket) rawError(err error) error {
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return kernelError(err)
}

func sockaddr(a Addr) *unix.SockaddrVM { return &unix.SockaddrVM{CID: a.CID, Port: a.Port} }

func fromSockaddr(sa unix.Sockaddr) (Addr, error) {
	vm, ok := sa.(*unix.SockaddrVM)
	if !ok {
		return Addr{}, fmt.Errorf("vsock: the kernel gave a socket address of type %T", sa)
	}
	return Addr{CID: vm.CID, Port: vm.Port}, nil
}

// kernelError takes off what package os wraps around the socket's own error.
func kernelError(err error) error {
	if err == nil || errors.Is(err, io.EOF) { // before what follows takes memory
		return err
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, os.ErrClosed) {
		return net.ErrClosed
	}
	return err
}
