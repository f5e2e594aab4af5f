package vsock

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelPolls are the events that the kernel can tell.
const kernelPolls = PollIn | PollPri | PollOut | PollRdHup

// watchFile makes an epoll, in the runtime's poller, that is readable when one of
// the events holds on the socket.
func (s *kernelSocket) watchFile(want Events) (*os.File, []func() error, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os takes it for a plain file
		_ = unix.Close(fd)
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "epoll")
	err = s.control(func(sock int) error {
		return unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, sock, &unix.EpollEvent{Events: uint32(want)})
	})
	var rc syscall.RawConn
	if err == nil {
		rc, err = f.SyscallConn()
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, []func() error{func() error { return rc.Read(epollHas) }}, nil
}

func epollHas(epoll uintptr) bool {
	var e [1]unix.EpollEvent
	n, err := unix.EpollWait(int(epoll), e[:], 0)
	return n > 0 || err != nil // what EINTR might be hiding is for Ready to tell
}
