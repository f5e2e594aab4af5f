package winsock

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

const (
	// maxSockaddr is room for any address: the size of sockaddr_storage.
	maxSockaddr = 128
	// maxTransfer is how much one call moves: lengths are 32 bits wide.
	maxTransfer = 1 << 30

	cmdNonblock = 0x8004667e // FIONBIO
	cmdUnread   = 0x4004667f // FIONREAD
	soError     = 0x1007     // SO_ERROR
)

// errShut ends the calls of a direction that was shut down.
var errShut = errors.New("winsock: shut down")

// A Socket is a socket. For the system it never blocks; waiting is done here.
type Socket struct {
	typ        int
	nonblock   atomic.Bool
	connecting atomic.Bool // connect has begun, and nobody has seen its end

	// life is held for reading by calls that use the handle, none of which wait, and
	// for writing by Close: after that the handle may be another's.
	life   sync.RWMutex
	closed bool
	handle windows.Handle

	read, write direction
	sending     sync.Mutex // Send, so that what it sends stays in one piece
	ready       readiness
}

// New makes a socket of an address family, a type and a protocol, in Winsock's
// numbers.
func New(family, typ, protocol int) (*Socket, error) {
	if _, err := port(); err != nil {
		return nil, wsaError(err)
	}
	h, err := windows.WSASocket(int32(family), int32(typ), int32(protocol), nil, 0,
		windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		return nil, wsaError(err)
	}
	return newSocket(h, typ)
}

func newSocket(h windows.Handle, typ int) (*Socket, error) {
	s := &Socket{typ: typ, handle: h, read: newDirection(), write: newDirection()}
	s.ready.s = s
	p, err := port()
	if err == nil {
		_, err = windows.CreateIoCompletionPort(h, p, 0, 0)
	}
	on := uint32(1)
	if err == nil {
		err = ioctl(h, cmdNonblock, &on)
	}
	if err != nil {
		_ = windows.Closesocket(h)
		return nil, wsaError(err)
	}
	return s, nil
}

// use makes a system call that does not wait, while the handle is ours.
func (s *Socket) use(f func() error) error {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return net.ErrClosed
	}
	return f()
}

// Alive is nil, or net.ErrClosed after Close.
func (s *Socket) Alive() error { return s.use(func() error { return nil }) }

// SetNonblock makes calls return EAGAIN in place of waiting.
func (s *Socket) SetNonblock(on bool) error {
	return s.use(func() error { s.nonblock.Store(on); return nil })
}

// Bind is bind.
func (s *Socket) Bind(sa []byte) error {
	return s.use(func() error { return bind(s.handle, sa) })
}

// Listen is listen.
func (s *Socket) Listen(backlog int) error {
	return s.use(func() error { return wsaError(windows.Listen(s.handle, backlog)) })
}

// Accept is accept. It gives the peer's address.
func (s *Socket) Accept() (*Socket, []byte, error) {
	for {
		var h windows.Handle
		var sa []byte
		err := s.use(func() (err error) {
			h, sa, err = accept(s.handle)
			return err
		})
		if err == nil {
			// Events and the event object are inherited.
			_ = eventSelect(h, 0, 0)
			c, err := newSocket(h, s.typ)
			return c, sa, err
		}
		if !errors.Is(err, syscall.EAGAIN) || s.nonblock.Load() {
			return nil, nil, err
		}
		if err := s.wait(context.Background(), fdAccept|fdClose, &s.read); err != nil {
			return nil, nil, err
		}
	}
}

// Connect is connect. It fails with the context's cause when that ends first.
func (s *Socket) Connect(ctx context.Context, sa []byte) error {
	err := s.use(func() error { return connect(s.handle, sa) })
	if !errors.Is(err, syscall.EAGAIN) {
		return err
	}
	s.connecting.Store(true)
	if s.nonblock.Load() {
		return syscall.EINPROGRESS
	}
	for {
		if done, err := s.connected(); done || err != nil {
			return err
		}
		if err := s.wait(ctx, fdWrite|fdClose, nil); err != nil {
			return err
		}
	}
}

// connected tells whether connecting has ended, and how.
func (s *Socket) connected() (done bool, err error) {
	err = s.use(func() error {
		_, write, except, err := selectNow(s.handle)
		if err != nil {
			return err
		}
		done = write || except
		if done {
			s.connecting.Store(false)
		}
		if !except {
			return nil
		}
		v := make([]byte, 4)
		if err := getsockopt(s.handle, windows.SOL_SOCKET, soError, v); err != nil {
			return err
		}
		if err := Error(binary.LittleEndian.Uint32(v)); err != nil {
			return err
		}
		return syscall.ECONNREFUSED
	})
	return done, err
}

// LocalName is getsockname.
func (s *Socket) LocalName() (sa []byte, err error) {
	err = s.use(func() (err error) { sa, err = name(procGetsockname, s.handle); return err })
	return sa, err
}

// PeerName is getpeername.
func (s *Socket) PeerName() (sa []byte, err error) {
	err = s.use(func() (err error) { sa, err = name(procGetpeername, s.handle); return err })
	return sa, err
}

// SetOption is setsockopt.
func (s *Socket) SetOption(level, name int, v []byte) error {
	return s.use(func() error { return setsockopt(s.handle, level, name, v) })
}

// Option is getsockopt: it fills v.
func (s *Socket) Option(level, name int, v []byte) error {
	return s.use(func() error { return getsockopt(s.handle, level, name, v) })
}

// Unread tells how many bytes can be received.
func (s *Socket) Unread() (v uint32, err error) {
	err = s.use(func() error { return ioctl(s.handle, cmdUnread, &v) })
	return v, err
}

// SetReadDeadline limits Accept and Recv.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.setDeadline(&s.read, t) }

// SetWriteDeadline limits Send.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.write, t) }

func (s *Socket) setDeadline(d *direction, t time.Time) error {
	return s.use(func() error { d.set(t); return nil })
}

// Shutdown ends receiving, sending or both, and the calls that wait for it: Winsock
// itself would let them wait on.
func (s *Socket) Shutdown(read, write bool) error {
	how := windows.SHUT_RDWR
	switch {
	case !write:
		how = windows.SHUT_RD
	case !read:
		how = windows.SHUT_WR
	}
	if err := s.use(func() error { return wsaError(windows.Shutdown(s.handle, how)) }); err != nil {
		return err
	}
	if read {
		s.read.shutdown()
	}
	if write {
		s.write.shutdown()
	}
	return nil
}

// Close is closesocket. Calls that wait end with net.ErrClosed.
func (s *Socket) Close() error {
	s.life.Lock()
	if s.closed {
		s.life.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	// closesocket would end them as well, says the reference; this is sure to.
	_ = windows.CancelIoEx(s.handle, nil)
	err := windows.Closesocket(s.handle)
	s.life.Unlock()
	s.read.set(time.Time{}) // stops the timers
	s.write.set(time.Time{})
	s.ready.close()
	return wsaError(err)
}

// wait waits for one of the events, which may come too early, the context's end, or
// the deadline of d, which may be nil.
func (s *Socket) wait(ctx context.Context, events uint32, d *direction) error {
	var passed, shut <-chan struct{}
	if d != nil {
		passed, shut = d.deadline(), d.shut
	}
	if isClosed(passed) {
		return os.ErrDeadlineExceeded
	}
	news := make(chan struct{})
	defer s.ready.watch(events, func() { close(news) })()
	select {
	case <-news:
		return nil
	case <-passed:
		return os.ErrDeadlineExceeded
	case <-shut:
		return errShut
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
