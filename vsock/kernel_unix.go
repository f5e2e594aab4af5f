//go:build linux || darwin

package vsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/socket"
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
	c, err := socket.Socket(afVsock, int(t), 0, "vsock", nil)
	switch err = kernelError(err); {
	case errors.Is(err, unix.ESOCKTNOSUPPORT), errors.Is(err, unix.EPROTOTYPE),
		t == Datagram && errors.Is(err, unix.ENODEV):
		return nil, ErrNotSupported
	case err != nil:
		return nil, err
	}
	return &kernelSocket{c: c, typ: t}, nil
}

// kernelSocket is a socket of the kernel, in the runtime's poller. For the kernel
// it never blocks; waiting is the runtime's, and nonblock says whether to.
type kernelSocket struct {
	c        *socket.Conn
	typ      Type
	nonblock atomic.Bool
	closed   atomic.Bool
	shutSend atomic.Bool // Shutdown has ended sending
	connect  connectState
	watches  kernelWatches
	messages kernelMessages
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
	return kernelError(s.c.Bind(sockaddr(a)))
}

func (s *kernelSocket) Listen(backlog int) error { return kernelError(s.c.Listen(backlog)) }

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
	c, err := socket.New(fd, "vsock")
	if err != nil {
		_ = unix.Close(fd)
		return nil, Addr{}, kernelError(err)
	}
	a, err := fromSockaddr(sa)
	if err != nil {
		_ = c.Close()
		return nil, Addr{}, err
	}
	return &kernelSocket{c: c, typ: s.typ}, a, nil
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
	if err := s.c.Shutdown(h); err != nil {
		return kernelError(err)
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
	err := s.c.Close()
	s.watches.close()
	return kernelError(err)
}

// LocalAddr puts the real CID in place of the wildcard that the kernel keeps for
// a socket bound to any, as the guide says of bind. One that is not bound has it.
func (s *kernelSocket) LocalAddr() (Addr, error) {
	sa, err := s.c.Getsockname()
	if err != nil {
		return Addr{}, kernelError(err)
	}
	a, err := fromSockaddr(sa)
	if err == nil && a.CID == CIDAny && a.Port != PortAny {
		if cid, err := (kernelStack{}).LocalCID(); err == nil {
			a.CID = cid
		}
	}
	return a, err
}

func (s *kernelSocket) RemoteAddr() (Addr, error) {
	sa, err := s.c.Getpeername()
	if err != nil {
		return Addr{}, kernelError(err)
	}
	return fromSockaddr(sa)
}

func (s *kernelSocket) SetReadDeadline(t time.Time) error {
	if s.closed.Load() { // package os has an error of its own for it
		return net.ErrClosed
	}
	return kernelError(s.c.SetReadDeadline(t))
}

func (s *kernelSocket) SetWriteDeadline(t time.Time) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	s.messages.setDeadline(s, t)
	return kernelError(s.c.SetWriteDeadline(t))
}

// control makes a system call that does not wait.
func (s *kernelSocket) control(f func(fd int) error) error {
	rc, err := s.c.SyscallConn()
	if err != nil {
		return kernelError(err)
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return s.rawError(err)
	}
	return ferr
}

// rawError is kernelError for package os's RawConn, whose error after Close
// matches nothing.
func (s *kernelSocket) rawError(err error) error {
	if s.closed.Load() {
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

// kernelError takes off what os and socket wrap around the socket's own error.
// EBADF is what package socket says of a socket that was closed.
func kernelError(err error) error {
	if err == nil { // before what follows takes memory
		return nil
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	var se *os.SyscallError
	if errors.As(err, &se) {
		err = se.Err
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) {
		return net.ErrClosed
	}
	return err
}
