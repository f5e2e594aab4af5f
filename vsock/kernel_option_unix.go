//go:build linux || darwin

package vsock

import (
	"errors"

	"golang.org/x/sys/unix"
)

func (s *kernelSocket) SetOption(o Option, v uint64) error {
	if s.connect.setOption(o, v) {
		return nil
	}
	return optionError(s.control(func(fd int) error { return setKernelOption(fd, o, v) }))
}

func (s *kernelSocket) Option(o Option) (v uint64, err error) {
	if v, ours := s.connect.option(o); ours {
		return v, nil
	}
	err = s.control(func(fd int) (err error) {
		v, err = kernelOption(fd, o)
		return err
	})
	return v, optionError(err)
}

func unsigned(v int, err error) (uint64, error) { return uint64(max(v, 0)), err }

// optionError makes one error of how kernels say that they lack an option, or an
// ioctl: SIOCINQ and SIOCOUTQ are newer than vSockets are.
func optionError(err error) error {
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return ErrNotSupported
	}
	return err
}
