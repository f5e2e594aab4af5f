//go:build linux || darwin

package vsock

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file has the calls of kernelSocket that move data.

// wait makes a system call, and again when the socket is ready, until it is done
// or a deadline passes: dir is RawConn's Read or Write. Where the caller does not
// want to wait it makes it once.
func (s *kernelSocket) wait(dir func(syscall.RawConn, func(uintptr) bool) error, flags Flags, call func(fd int) error) error {
	var cerr, err error
	try := func(fd uintptr) bool {
		cerr = call(int(fd))
		for errors.Is(cerr, unix.EINTR) {
			cerr = call(int(fd))
		}
		return !errors.Is(cerr, unix.EAGAIN)
	}
	if s.nonblock.Load() || flags&MsgDontWait != 0 {
		err = s.rc.Control(func(fd uintptr) { try(fd) })
	} else {
		err = dir(s.rc, try)
	}
	if err != nil {
		return s.rawError(err)
	}
	return cerr
}

// wakeSenders ends the calls that wait to send. Shutdown does not: to the kernel's
// poll, a socket that has been shut down is one that has no room.
func (s *kernelSocket) wakeSenders() {
	s.shutSend.Store(true)
	_ = s.f.SetWriteDeadline(time.Unix(1, 0))
}

// sendError makes EPIPE of a deadline that wakeSenders has set.
func (s *kernelSocket) sendError(err error) error {
	if s.shutSend.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return syscall.EPIPE
	}
	return err
}

// Read takes the short way where it can: it needs no memory.
func (s *kernelSocket) Read(p []byte) (int, error) {
	if s.typ != Stream || s.nonblock.Load() {
		n, _, err := s.Recv(p, 0)
		return n, err
	}
	n, err := s.f.Read(p)
	return n, kernelError(err)
}

// Write takes the short way where it can, as Read does.
func (s *kernelSocket) Write(p []byte) (int, error) {
	if s.typ != Stream || s.nonblock.Load() {
		return s.Send(p, 0)
	}
	n, err := s.f.Write(p)
	return n, s.sendError(kernelError(err))
}

func (s *kernelSocket) Recv(p []byte, flags Flags) (int, Flags, error) {
	n, got, _, err := s.recv(p, flags)
	return n, got, err
}

func (s *kernelSocket) RecvFrom(p []byte, flags Flags) (int, Flags, Addr, error) {
	n, got, sa, err := s.recv(p, flags)
	if err != nil {
		return n, got, Addr{}, err
	}
	if s.typ == Datagram {
		from, err := fromSockaddr(sa)
		return n, got, from, err
	}
	from, err := s.RemoteAddr()
	if err != nil { // the connection has ended since
		from = Addr{}
	}
	return n, got, from, nil
}

func (s *kernelSocket) recv(p []byte, flags Flags) (n int, got Flags, from unix.Sockaddr, err error) {
	ask := int(flags&(MsgPeek|MsgTrunc)) | kernelFlags
	room := p
	switch {
	case s.typ == Stream:
		ask &^= int(MsgTrunc) // a stream has no messages to tell the length of
	case len(p) == 0:
		room = make([]byte, 1) // into no room at all, the kernel takes no message
	}
	var ended bool
	err = s.wait(syscall.RawConn.Read, flags, func(fd int) error {
		k, _, flags, sa, err := unix.Recvmsg(fd, room, nil, ask)
		if err != nil {
			return err
		}
		n, from, got = k, sa, Flags(flags)&(MsgTrunc|MsgEOR)
		switch s.typ {
		case Stream:
			ended, got = n == 0 && len(p) > 0, 0
		case Seqpacket:
			ended = n == 0 && got&MsgEOR == 0 && peerEnded(fd)
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, 0, nil, err
	case ended:
		return 0, 0, nil, io.EOF
	}
	if n > len(p) {
		got |= MsgTrunc
		if flags&MsgTrunc == 0 {
			n = len(p)
		}
	}
	return n, got, from, nil
}

// peerEnded tells the end of a seqpacket connection from an empty message: the
// kernel gives no bytes for either. An empty message that is the peer's last
// word before its end cannot be told, and is taken for the end.
func peerEnded(fd int) bool {
	return pollNow(fd, PollRdHup)&(PollRdHup|PollHup) != 0
}

func (s *kernelSocket) Send(p []byte, flags Flags) (n int, err error) {
	if s.typ == Seqpacket {
		return s.messages.send(s, p, flags)
	}
	err = s.wait(syscall.RawConn.Write, flags, func(fd int) error {
		for {
			k, err := unix.SendmsgN(fd, p[n:], nil, nil, kernelFlags)
			n += max(k, 0)
			if err != nil || n == len(p) {
				return err
			}
		}
	})
	if errors.Is(err, unix.EAGAIN) && n > 0 {
		err = nil // what could go without waiting has gone
	}
	return n, s.sendError(err)
}

func (s *kernelSocket) SendTo(p []byte, flags Flags, to Addr) (int, error) {
	if s.typ != Datagram {
		if _, err := s.RemoteAddr(); err != nil {
			return 0, err
		}
		return 0, syscall.EISCONN
	}
	if err := requireLoopback(to); err != nil {
		return 0, err
	}
	err := s.wait(syscall.RawConn.Write, flags, func(fd int) error {
		return unix.Sendto(fd, p, kernelFlags, sockaddr(to))
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
