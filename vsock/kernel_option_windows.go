package vsock

import (
	"encoding/binary"
	"errors"
	"math"
	"syscall"

	"vsockets.dev/internal/winsock"
)

// SO_ERROR of SOL_SOCKET, winsock2.h.
const (
	solSocket = 0xffff
	soError   = 0x1007
)

func (s *kernelSocket) SetOption(o Option, v uint64) error {
	if err := s.s.Alive(); err != nil {
		return err
	}
	switch o {
	case PendingError, Unread:
		return syscall.EINVAL // read only
	case ConnectTimeout:
		if v > math.MaxInt64 {
			return syscall.ERANGE
		}
		s.timeout.Store(v)
	}
	opt, ok := s.family.Option(int(o))
	if !ok {
		if o == ConnectTimeout {
			return nil // it is kept by Connect
		}
		return ErrNotSupported
	}
	b, err := encodeOption(opt, v)
	if err != nil {
		return err
	}
	return windowsOptionError(s.s.SetOption(opt.Level, opt.Name, b))
}

func (s *kernelSocket) Option(o Option) (uint64, error) {
	if err := s.s.Alive(); err != nil {
		return 0, err
	}
	switch o {
	case ConnectTimeout:
		return uint64(connectTimeout(s.timeout.Load())), nil
	case PendingError:
		b := make([]byte, 4)
		if err := s.s.Option(solSocket, soError, b); err != nil {
			return 0, err
		}
		var errno syscall.Errno
		errors.As(refused(winsock.Error(binary.LittleEndian.Uint32(b))), &errno)
		return uint64(errno), nil
	case Unread:
		v, err := s.s.Unread()
		return uint64(v), err
	}
	opt, ok := s.family.Option(int(o))
	if !ok {
		return 0, ErrNotSupported
	}
	b := make([]byte, opt.Size)
	if err := s.s.Option(opt.Level, opt.Name, b); err != nil {
		return 0, windowsOptionError(err)
	}
	return decodeOption(opt, b), nil
}

func windowsOptionError(err error) error {
	if errors.Is(err, syscall.ENOPROTOOPT) || errors.Is(err, syscall.EOPNOTSUPP) {
		return ErrNotSupported
	}
	return err
}
