package vsock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file has what only Linux's AF_VSOCK is like. Source: vsock(7), and
// <linux/vm_sockets.h>.

const afVsock = unix.AF_VSOCK

// kernelFlags are in every call that moves data: the runtime waits, not the kernel,
// and a connection that has ended is an error, not a signal.
const kernelFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// devVsock is the device whose ioctl tells the local CID.
const devVsock = "/dev/vsock"

func (kernelStack) LocalCID() (uint32, error) {
	f, err := os.Open(devVsock)
	if err != nil {
		return 0, fmt.Errorf("vsock: local CID: %w (is the kernel module vsock loaded?)", err)
	}
	defer func() { _ = f.Close() }()
	cid, err := unix.IoctlGetUint32(int(f.Fd()), unix.IOCTL_VM_SOCKETS_GET_LOCAL_CID)
	if err != nil {
		return 0, fmt.Errorf("vsock: local CID from %s: %w", devVsock, err)
	}
	return cid, nil
}

func socketFD(t Type) (int, error) {
	return unix.Socket(afVsock, int(t)|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func acceptFD(l int) (int, unix.Sockaddr, error) {
	return unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// connectState has the options that are not the kernel's to keep.
type connectState struct {
	toHost atomic.Bool // ToHost, a flag of the address
}

func (c *connectState) setOption(o Option, v uint64) (ours bool) {
	if o == ToHost {
		c.toHost.Store(v != 0)
	}
	return o == ToHost
}

func (c *connectState) option(o Option) (v uint64, ours bool) {
	if c.toHost.Load() {
		v = 1
	}
	return v, o == ToHost
}

func (s *kernelSocket) Connect(ctx context.Context, a Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.bindLoopback(a); err != nil {
		return err
	}
	sa := sockaddr(a)
	if s.connect.toHost.Load() {
		sa.Flags = unix.VMADDR_FLAG_TO_HOST
	}
	if s.nonblock.Load() || s.typ == Datagram {
		return s.control(func(fd int) error { return unix.Connect(fd, sa) })
	}
	return s.connectWait(ctx, sa)
}

// connectErrno has nothing to change: a connect has Linux's errors.
func connectErrno(err error) error { return err }

// noLoopbackError is what is said in place of connecting to CIDLocal, when that
// would leave the machine.
type noLoopbackError struct{}

func (noLoopbackError) Error() string {
	return "this kernel has no vsock loopback, so CID 1 would reach the hypervisor: load its module with modprobe vsock_loopback"
}

func (noLoopbackError) Unwrap() error { return syscall.EADDRNOTAVAIL }

// bindLoopback does what requireLoopback does, for a socket that is to be connected:
// its own binding tells, at a third of the system calls, and the connection's name is
// then that which its peer sees. One that is bound already is not asked again.
func (s *kernelSocket) bindLoopback(a Addr) error {
	if a.CID != CIDLocal {
		return nil
	}
	if s.typ == Datagram {
		return requireLoopback(a)
	}
	switch err := s.Bind(Addr{CID: CIDLocal, Port: PortAny}); {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return noLoopbackError{}
	case errors.Is(err, unix.EINVAL):
		return requireLoopback(a)
	default:
		return err
	}
}

// requireLoopback refuses CIDLocal where the kernel has no transport for it: Linux
// would give such a connection to the transport to the host, as all CIDs up to 2
// (net/vmw_vsock/af_vsock.c, vsock_assign_transport). Binding is what tells: it
// takes a CID of which there is a transport, and sends nothing. Since modules come
// and go, the answer is not kept.
func requireLoopback(a Addr) error {
	if a.CID != CIDLocal {
		return nil
	}
	fd, err := unix.Socket(afVsock, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if unix.Bind(fd, sockaddr(Addr{CID: CIDLocal, Port: PortAny})) != nil {
		return noLoopbackError{}
	}
	return nil
}
