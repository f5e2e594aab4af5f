package winsock

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/windows"
)

// An op is an overlapped call under way. The system writes to it until it has
// completed, so whoever began it waits for that, whatever happens.
type op struct {
	o     windows.Overlapped // first: the completion port gives its address
	buf   windows.WSABuf
	n     uint32
	flags uint32
	done  chan error
}

var ops = sync.Pool{New: func() any { return &op{done: make(chan error, 1)} }}

// port is the completion port of all sockets, and of this process for good.
var port = sync.OnceValues(func() (windows.Handle, error) {
	var data windows.WSAData
	// Package net does this too, but only when it makes its first socket. It is counted.
	if err := windows.WSAStartup(0x0202, &data); err != nil { // version 2.2
		return 0, err
	}
	return windows.CreateIoCompletionPort(windows.InvalidHandle, 0, 0, 1)
})

// pending counts operations. While there are any, a goroutine waits for them.
var pending atomic.Int64

// submit begins an operation. With an error other than ERROR_IO_PENDING, none is under
// way.
func (s *Socket) submit(o *op, begin func(*op) error) error {
	p, err := port()
	if err != nil {
		return err
	}
	if pending.Add(1) == 1 {
		go complete(p)
	}
	err = s.use(func() error { return begin(o) })
	if err == nil || errors.Is(err, windows.ERROR_IO_PENDING) {
		return nil // it completes by the port in either case
	}
	_ = windows.PostQueuedCompletionStatus(p, 0, 0, nil) // counts it as ended
	return err
}

// complete hands each completed operation to the goroutine that waits for it, until
// there are none.
func complete(port windows.Handle) {
	for {
		var n uint32
		var key uintptr
		var o *windows.Overlapped
		err := windows.GetQueuedCompletionStatus(port, &n, &key, &o, windows.INFINITE)
		if o != nil {
			p := opOf(o)
			p.n = n
			p.done <- err
		}
		if pending.Add(-1) == 0 {
			return
		}
	}
}

// overlapped begins a call on a stream and waits until it has completed, or the
// direction ends: then it is taken back, unless it was done just before.
//
// On datagrams it is not to be used. There a call may fail at once with a warning, that
// a message was cut, and complete by the port nevertheless.
func (s *Socket) overlapped(d *direction, p []byte, begin func(*op) error) (n int, err error) {
	if isClosed(d.deadline()) {
		return 0, os.ErrDeadlineExceeded
	}
	o := ops.Get().(*op)
	*o = op{done: o.done, buf: buffer(p)}
	if err := s.submit(o, begin); err != nil {
		return 0, wsaError(err)
	}
	var why error
	select {
	case err = <-o.done:
	case <-d.deadline():
		why = os.ErrDeadlineExceeded
	case <-d.shut:
		why = errShut
	}
	if why != nil {
		_ = s.use(func() error { return windows.CancelIoEx(s.handle, &o.o) })
		err = <-o.done
	}
	if err != nil {
		err = s.opError(o, err)
	}
	n = int(o.n)
	o.buf.Buf = nil
	ops.Put(o)
	if errors.Is(err, syscall.ECANCELED) {
		if why == nil { // only Close does that
			why = net.ErrClosed
		}
		err = why
	}
	return n, err
}

// buffer is p, or as much of it as one call moves.
func buffer(p []byte) windows.WSABuf {
	return windows.WSABuf{Len: uint32(min(len(p), maxTransfer)), Buf: unsafeData(p)}
}

// opError is Winsock's error of an operation that failed, which says more than the
// port's.
func (s *Socket) opError(o *op, err error) error {
	if e := s.use(func() error {
		var n, flags uint32
		return windows.WSAGetOverlappedResult(s.handle, &o.o, &n, false, &flags)
	}); e != nil {
		err = e
	}
	return wsaError(err)
}

// wsaError is Error for what package windows gives.
func wsaError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return Error(uint32(errno))
	}
	return err
}
