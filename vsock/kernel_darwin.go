package vsock

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file has what only macOS's AF_VSOCK is like, which is there in a macOS guest:
// streams to the host and to itself. Source: xnu, bsd/kern/vsock_domain.c,
// bsd/sys/vsock.h and tests/vsock.c. Package unix has the layout of its sockaddr_vm,
// which begins with its length.

const afVsock = unix.AF_VSOCK

// kernelFlags are in every call that moves data: the runtime waits, not the kernel.
// Of a connection that has ended, Go ignores the signal.
const kernelFlags = unix.MSG_DONTWAIT

// LocalCID asks a socket: xnu has the ioctl there.
func (kernelStack) LocalCID() (cid uint32, err error) {
	s, err := kernelStack{}.Socket(Stream)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	err = s.(*kernelSocket).control(func(fd int) error {
		v, err := unix.IoctlGetInt(fd, unix.IOCTL_VM_SOCKETS_GET_LOCAL_CID)
		cid = uint32(v)
		return err
	})
	return cid, err
}

// socketFD has no flags to give: the lock keeps the descriptor from a child process that is
// started in between.
func socketFD(t Type) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(afVsock, int(t), 0)
	if err == nil {
		unix.CloseOnExec(fd)
		err = doNotBlock(fd)
	}
	return fd, err
}

// acceptFD has no accept4: the lock keeps the descriptor from a child process that
// is started in between.
func acceptFD(l int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for {
		fd, sa, err := unix.Accept(l)
		switch {
		case errors.Is(err, unix.ECONNABORTED): // its peer has given up meanwhile: the next one
			continue
		case err == nil:
			unix.CloseOnExec(fd)
			err = doNotBlock(fd)
		}
		return fd, sa, err
	}
}

// connectState has the options that are not the kernel's to keep.
type connectState struct {
	timeout atomic.Uint64 // ConnectTimeout, ns; macOS has none
}

func (c *connectState) setOption(o Option, v uint64) (ours bool) {
	if o == ConnectTimeout {
		c.timeout.Store(v)
	}
	return o == ConnectTimeout
}

func (c *connectState) option(o Option) (v uint64, ours bool) {
	return uint64(connectTimeout(c.timeout.Load())), o == ConnectTimeout
}

// Connect gives up after the connect timeout, for which macOS has no option.
func (s *kernelSocket) Connect(ctx context.Context, a Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sa := sockaddr(a)
	if s.nonblock.Load() {
		return connectErrno(s.control(func(fd int) error { return unix.Connect(fd, sa) }))
	}
	timed, cancel := withConnectTimeout(ctx, s.connect.timeout.Load())
	defer cancel()
	err := s.connectWait(timed, sa)
	if cause := context.Cause(timed); errors.Is(err, context.DeadlineExceeded) && errors.Is(cause, syscall.ETIMEDOUT) {
		return cause
	}
	return err
}

// connectErrno makes Linux's errors of macOS's: EAGAIN is refused, and EFAULT a
// CID that is neither the host's nor its own.
func connectErrno(err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return syscall.ECONNRESET
	case errors.Is(err, unix.EFAULT):
		return syscall.ENETUNREACH
	}
	return err
}

// requireLoopback has nothing to refuse: xnu sends nothing to CID 1.
func requireLoopback(Addr) error { return nil }

// kernelMessages would send messages, but macOS has no sockets for them.
type kernelMessages struct{}

func (*kernelMessages) send(*kernelSocket, []byte, Flags) (int, error) { return 0, ErrNotSupported }

func (*kernelMessages) setDeadline(*kernelSocket, time.Time) {}

func (*kernelMessages) close(*kernelSocket) {}
