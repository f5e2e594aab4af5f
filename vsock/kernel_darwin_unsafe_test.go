//go:build darwin

package vsock

import (
	"errors"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What xnu's bsd/sys/vsock.h says. The compiler holds package unix against it, also
// where macOS is not: an index other than 0 is an error.
var (
	_ = [1]int{}[unix.AF_VSOCK-40]
	_ = [1]int{}[unix.SizeofSockaddrVM-12]
	_ = [1]int{}[unsafe.Offsetof(unix.RawSockaddrVM{}.Family)-1] // after the length
	_ = [1]int{}[unsafe.Offsetof(unix.RawSockaddrVM{}.Port)-4]
	_ = [1]int{}[unsafe.Offsetof(unix.RawSockaddrVM{}.Cid)-8]
	_ = [1]int{}[unix.IOCTL_VM_SOCKETS_GET_LOCAL_CID-(0x40000000|4<<16|'s'<<8|209)] // _IOR('s', 209, uint32_t)
	_ = [1]int{}[unix.POLLIN-PollIn|unix.POLLOUT-PollOut|unix.POLLERR-PollErr|unix.POLLHUP-PollHup|unix.POLLNVAL-PollNval]
	_ = [1]int{}[unix.MSG_PEEK-MsgPeek]
)

func TestDarwinConnectError(t *testing.T) {
	for in, want := range map[error]error{
		unix.EAGAIN: syscall.ECONNRESET,
		unix.EFAULT: syscall.ENETUNREACH,
		unix.EINVAL: syscall.EINVAL,
		nil:         nil,
	} {
		if got := connectErrno(in); !errors.Is(got, want) {
			t.Errorf("%v: %v, want %v", in, got, want)
		}
	}
}
