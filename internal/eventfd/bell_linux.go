package eventfd

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrJammed says that a bell's other owner has made it block whoever rings it. It is
// of no more use.
var ErrJammed = errors.New("eventfd: the other side has filled the counter and made writes to it block")

// Bell is an eventfd, or a stream socket in place of one, that is rung and not
// waited for.
//
// Whether a write to an eventfd blocks is a flag of the file, and the other side has
// the same file: it can fill the counter and clear O_NONBLOCK at any moment, also
// between a look at both and the write. There is no write to an eventfd that is
// non-blocking by itself (pwritev2 with RWF_NOWAIT is EOPNOTSUPP, and the file cannot
// be opened anew). So Signal writes, and a guard frees it if it does not come back.
type Bell struct {
	fd     int
	socket bool // a write to it has a flag of its own

	begun, ended atomic.Uint32 // writes
	watched      atomic.Bool   // the guard has it in its list
	jammed       atomic.Bool

	mu     sync.Mutex // of closed, and of what fd is
	closed bool

	// The guard's, from its last look.
	sawBegun, sawEnded uint32
}

// one is what adds 1 to an eventfd's counter, on a little-endian machine.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// NewBell takes over a descriptor, and closes it if that fails.
func NewBell(fd int) (*Bell, error) {
	b := new(Bell)
	if err := b.init(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return b, nil
}

func (b *Bell) init(fd int) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("eventfd: descriptor %d: %w", fd, err)
	}
	b.fd = fd
	_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	b.socket = err == nil
	return guard.use()
}

// Signal wakes whoever waits at the other side. It must not be called after
// Close. A full counter is as good as a signal: the other side has not seen the
// last one yet.
func (b *Bell) Signal() error {
	if b.socket {
		return quiet(unix.Sendto(b.fd, one, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil))
	}
	b.begun.Add(1)
	if !b.watched.Load() { // after begun, as the guard looks at the two the other way round
		guard.watch(b)
	}
	_, err := unix.Write(b.fd, one)
	b.ended.Add(1)
	if b.jammed.Load() {
		return ErrJammed
	}
	return quiet(err)
}

func quiet(err error) error {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// Close releases the descriptor.
func (b *Bell) Close() error {
	if !b.retire() {
		return unix.EBADF
	}
	return unix.Close(b.fd)
}

// Closed says whether that has been done.
func (b *Bell) Closed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// retire keeps the guard from the descriptor: false if that was done already.
func (b *Bell) retire() bool {
	b.mu.Lock()
	was := b.closed
	b.closed = true
	b.mu.Unlock()
	if !was {
		guard.disuse()
	}
	return !was
}
