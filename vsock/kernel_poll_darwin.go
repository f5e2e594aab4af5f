package vsock

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelPolls are the events that the kernel can tell.
const kernelPolls = PollIn | PollPri | PollOut

// watchFile makes a second descriptor of the socket, which has a place of its own in
// the runtime's poller, to wait on in both directions: an end may show in either.
func (s *kernelSocket) watchFile(want Events) (*os.File, []func() error, error) {
	var f *os.File
	err := s.control(func(sock int) error {
		fd, err := unix.FcntlInt(uintptr(sock), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			f = os.NewFile(uintptr(fd), "vsock")
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	rc, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	has := func(fd uintptr) bool { return pollNow(int(fd), want&(kernelPolls|alwaysPolled)) != 0 }
	wait := func(dir func(syscall.RawConn, func(uintptr) bool) error) func() error {
		return func() error { return dir(rc, has) }
	}
	return f, []func() error{wait(syscall.RawConn.Read), wait(syscall.RawConn.Write)}, nil
}
