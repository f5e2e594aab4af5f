package vsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// devVsock is the device whose ioctl tells the local CID.
const devVsock = "/dev/vsock"

type kernelStack struct{}

func (kernelStack) Socket(t Type) (Socket, error) {
	if t != Stream {
		return nil, ErrNotSupported
	}
	c, err := socket.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0, "vsock", nil)
	if err != nil {
		return nil, kernelError(err)
	}
	return &kernelSocket{c: c}, nil
}

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

// kernelSocket is a socket of the kernel, in the runtime's poller.
type kernelSocket struct {
	c *socket.Conn
}

func (s *kernelSocket) Bind(a Addr) error {
	return kernelError(s.c.Bind(&unix.SockaddrVM{CID: a.CID, Port: a.Port}))
}

func (s *kernelSocket) Listen(backlog int) error { return kernelError(s.c.Listen(backlog)) }

func (s *kernelSocket) Accept() (Socket, Addr, error) {
	c, sa, err := s.c.Accept(context.Background(), 0)
	if err != nil {
		return nil, Addr{}, kernelError(err)
	}
	a, err := fromSockaddr(sa)
	if err != nil {
		_ = c.Close()
		return nil, Addr{}, err
	}
	return &kernelSocket{c: c}, a, nil
}

func (s *kernelSocket) Connect(ctx context.Context, a Addr) error {
	_, err := s.c.Connect(ctx, &unix.SockaddrVM{CID: a.CID, Port: a.Port})
	return kernelError(err)
}

func (s *kernelSocket) Recv(p []byte) (int, error) {
	n, err := s.c.Read(p)
	return n, kernelError(err)
}

func (s *kernelSocket) Send(p []byte) (int, error) {
	n, err := s.c.Write(p)
	return n, kernelError(err)
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
	return kernelError(s.c.Shutdown(h))
}

func (s *kernelSocket) Close() error { return kernelError(s.c.Close()) }

// LocalAddr puts the real CID in place of the wildcard that the kernel keeps for
// a listener bound to any, as the guide says of bind.
func (s *kernelSocket) LocalAddr() (Addr, error) {
	sa, err := s.c.Getsockname()
	if err != nil {
		return Addr{}, kernelError(err)
	}
	a, err := fromSockaddr(sa)
	if err == nil && a.CID == CIDAny {
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
	return kernelError(s.c.SetReadDeadline(t))
}

func (s *kernelSocket) SetWriteDeadline(t time.Time) error {
	return kernelError(s.c.SetWriteDeadline(t))
}

// kernelOptions are the options whose value is a plain u64 of bytes.
var kernelOptions = map[Option]int{
	BufferSize:    unix.SO_VM_SOCKETS_BUFFER_SIZE,
	BufferMinSize: unix.SO_VM_SOCKETS_BUFFER_MIN_SIZE,
	BufferMaxSize: unix.SO_VM_SOCKETS_BUFFER_MAX_SIZE,
}

func (s *kernelSocket) SetOption(o Option, v uint64) error {
	return s.control(func(fd int) error {
		if o == ConnectTimeout {
			tv := unix.NsecToTimeval(int64(min(v, 1<<62)))
			return unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv)
		}
		opt, ok := kernelOptions[o]
		if !ok {
			return ErrNotSupported
		}
		return unix.SetsockoptUint64(fd, unix.AF_VSOCK, opt, v)
	})
}

func (s *kernelSocket) Option(o Option) (v uint64, err error) {
	err = s.control(func(fd int) error {
		if o == ConnectTimeout {
			tv, err := unix.GetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT)
			if err == nil {
				v = uint64(tv.Nano())
			}
			return err
		}
		opt, ok := kernelOptions[o]
		if !ok {
			return ErrNotSupported
		}
		v, err = unix.GetsockoptUint64(fd, unix.AF_VSOCK, opt)
		return err
	})
	return v, err
}

func (s *kernelSocket) control(f func(fd int) error) error {
	rc, err := s.c.SyscallConn()
	if err != nil {
		return kernelError(err)
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return kernelError(err)
	}
	return ferr
}

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
