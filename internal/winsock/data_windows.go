package winsock

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

const msgPeek = 0x2 // MSG_PEEK

// Recv receives up to len(p) bytes of a stream, or a datagram, and tells its sender.
// EMSGSIZE: p is full, and the rest of the datagram lost. io.EOF: the peer has ended
// sending. With peek, the data stays where it is; without wait, EAGAIN says that
// there is none.
func (s *Socket) Recv(p []byte, peek, wait bool) (n int, from []byte, err error) {
	stream := s.typ == windows.SOCK_STREAM
	if len(p) == 0 && stream {
		return 0, nil, nil
	}
	wait = wait && !s.nonblock.Load()
	if wait && stream && !peek { // overlapped calls cannot peek
		n, err = s.overlapped(&s.read, p, func(o *op) error {
			return windows.WSARecv(s.handle, &o.buf, 1, nil, &o.flags, &o.o, nil)
		})
	} else {
		n, from, err = s.recvNow(p, peek)
		for wait && errors.Is(err, syscall.EAGAIN) {
			if err = s.wait(context.Background(), fdRead|fdClose, &s.read); err == nil {
				n, from, err = s.recvNow(p, peek)
			}
		}
	}
	switch {
	case errors.Is(err, errShut), errors.Is(err, syscall.EPIPE): // WSAESHUTDOWN: reading was shut down
		return 0, nil, io.EOF
	case err == nil && n == 0 && stream:
		return 0, nil, io.EOF
	}
	return n, from, err
}

func (s *Socket) recvNow(p []byte, peek bool) (n int, from []byte, err error) {
	if isClosed(s.read.deadline()) {
		return 0, nil, os.ErrDeadlineExceeded
	}
	buf := buffer(p)
	var got, flags uint32
	if peek {
		flags = msgPeek
	}
	err = s.use(func() error {
		if s.typ == windows.SOCK_STREAM {
			return windows.WSARecv(s.handle, &buf, 1, &got, &flags, nil, nil)
		}
		from = make([]byte, maxSockaddr)
		size := int32(maxSockaddr)
		err := windows.WSARecvFrom(s.handle, &buf, 1, &got, &flags, rawSockaddr(from), &size, nil, nil)
		from = from[:min(max(size, 0), maxSockaddr)]
		return err
	})
	if err = wsaError(err); errors.Is(err, syscall.EMSGSIZE) {
		got = buf.Len
	}
	return int(got), from, err
}

// Send sends all of p, on a stream, or p as a datagram, to an address that may be nil
// where the socket is connected. It tells how much has gone, also with an error.
func (s *Socket) Send(p, to []byte, wait bool) (n int, err error) {
	wait = wait && !s.nonblock.Load()
	if wait {
		s.sending.Lock()
	} else if !s.sending.TryLock() {
		return 0, syscall.EAGAIN
	}
	defer s.sending.Unlock()
	for {
		k, err := s.sendSome(p[n:], to, wait)
		n += k
		switch {
		case errors.Is(err, errShut):
			return n, syscall.EPIPE
		case errors.Is(err, syscall.EAGAIN) && n > 0:
			return n, nil // what could go without waiting has gone
		case err != nil || n == len(p) || s.typ != windows.SOCK_STREAM:
			return n, err
		}
	}
}

func (s *Socket) sendSome(p, to []byte, wait bool) (n int, err error) {
	if wait && s.typ == windows.SOCK_STREAM {
		return s.overlapped(&s.write, p, func(o *op) error {
			return windows.WSASend(s.handle, &o.buf, 1, nil, 0, &o.o, nil)
		})
	}
	n, err = s.sendNow(p, to)
	for wait && errors.Is(err, syscall.EAGAIN) {
		if err = s.wait(context.Background(), fdWrite|fdClose, &s.write); err == nil {
			n, err = s.sendNow(p, to)
		}
	}
	return n, err
}

func (s *Socket) sendNow(p, to []byte) (n int, err error) {
	if isClosed(s.write.deadline()) {
		return 0, os.ErrDeadlineExceeded
	}
	buf := buffer(p)
	var sent uint32
	err = s.use(func() error {
		if to == nil {
			return windows.WSASend(s.handle, &buf, 1, &sent, 0, nil, nil)
		}
		return windows.WSASendTo(s.handle, &buf, 1, &sent, 0, rawSockaddr(to), int32(len(to)), nil, nil)
	})
	return int(sent), wsaError(err)
}
