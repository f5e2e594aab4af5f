//go:build linux || darwin

package vsock

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connectWait connects, and waits until that has succeeded or failed, or the context has
// ended, whose error it then returns.
func (s *kernelSocket) connectWait(ctx context.Context, sa unix.Sockaddr) error {
	begun := false
	call := func(fd int) error {
		if begun {
			return connected(fd)
		}
		begun = true
		err := unix.Connect(fd, sa)
		if errors.Is(err, unix.EINPROGRESS) {
			return unix.EAGAIN // which makes wait wait
		}
		return connectErrno(err)
	}
	if ctx.Done() == nil {
		return s.wait(syscall.RawConn.Write, 0, call)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.f.SetWriteDeadline(time.Unix(1, 0))
		close(ended)
	})
	err := s.wait(syscall.RawConn.Write, 0, call)
	if !stop() { // the deadline is the context's
		<-ended
		_ = s.f.SetWriteDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
	}
	return err
}

// connected tells how a connect has ended, or EAGAIN that it has not: the runtime also wakes
// for what was before it began. Only who is connected has a peer's name, and that is asked for
// first, since most connects succeed.
func connected(fd int) error {
	_, unnamed := unix.Getpeername(fd)
	if unnamed == nil {
		return nil
	}
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return err
	case v != 0:
		return connectErrno(syscall.Errno(v))
	case errors.Is(unnamed, unix.EINVAL):
		return nil // macOS, bsd/kern/uipc_syscalls.c: it was connected, and is shut down
	}
	return unix.EAGAIN
}
