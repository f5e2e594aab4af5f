package hybrid

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// conn is a connection, beyond the handshake.
type conn struct {
	*net.UnixConn
	local, remote vsock.Addr

	shutRead  atomic.Bool // Shutdown has ended receiving: what is there is not read any more
	shutWrite atomic.Bool // Shutdown has ended sending
	reset     atomic.Bool // the system has said so, which it does once

	mu sync.Mutex // orders write deadlines and the end of sending
}

// wait makes a system call on the connection, and again when it is ready, until it is
// done or a deadline passes: dir is RawConn's Read or Write. Without block, it makes
// it once.
func (c *conn) wait(dir func(syscall.RawConn, func(uintptr) bool) error, block bool, call func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return bare(err)
	}
	var cerr error
	try := func(fd uintptr) bool {
		cerr = call(int(fd))
		for errors.Is(cerr, unix.EINTR) {
			cerr = call(int(fd))
		}
		return !errors.Is(cerr, unix.EAGAIN)
	}
	if block {
		err = dir(rc, try)
	} else {
		err = rc.Control(func(fd uintptr) { try(fd) })
	}
	if err != nil {
		return bare(err)
	}
	return cerr
}

// recv takes bytes, or with MSG_PEEK in flags looks at them.
func (c *conn) recv(p []byte, flags int, block bool) (n int, err error) {
	switch {
	case c.shutRead.Load():
		return 0, c.ended()
	case len(p) == 0:
		return 0, nil
	}
	err = c.wait(syscall.RawConn.Read, block, func(fd int) error {
		n, _, err = unix.Recvfrom(fd, p, flags|unix.MSG_DONTWAIT)
		return err
	})
	return c.received(n, err)
}

// read is recv, waiting and without flags. It needs no memory.
func (c *conn) read(p []byte) (int, error) {
	if c.shutRead.Load() {
		return 0, c.ended()
	}
	n, err := c.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		return c.received(n, bare(err))
	}
	if n == 0 && len(p) == 0 {
		return 0, nil
	}
	return c.received(n, nil)
}

// received says what came of a call that received.
func (c *conn) received(n int, err error) (int, error) {
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		c.reset.Store(true)
		return 0, err
	case err != nil:
		return 0, err
	case n == 0:
		return 0, c.ended()
	}
	return n, nil
}

// ended is how the connection has ended: a reset stays one.
func (c *conn) ended() error {
	if c.reset.Load() {
		return syscall.ECONNRESET
	}
	return io.EOF
}

// send sends all of p, or what goes without waiting.
func (c *conn) send(p []byte, block bool) (n int, err error) {
	err = c.wait(syscall.RawConn.Write, block, func(fd int) error {
		for {
			k, err := unix.SendmsgN(fd, p[n:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			n += max(k, 0)
			if err != nil || n == len(p) {
				return err
			}
		}
	})
	if errors.Is(err, unix.EAGAIN) && n > 0 {
		err = nil // what could go without waiting has gone
	}
	return n, c.sendError(err)
}

// sendError makes EPIPE of the deadline that shutdown sets.
func (c *conn) sendError(err error) error {
	if c.shutWrite.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return syscall.EPIPE
	}
	return err
}

// shutdown ends directions. To the kernel's poll, a socket that is shut down for
// sending is one that has no room: a passed deadline wakes those who wait for it.
func (c *conn) shutdown(how vsock.How) error {
	var errs [2]error
	if how&vsock.ShutRead != 0 {
		c.shutRead.Store(true)
		errs[0] = c.CloseRead()
	}
	if how&vsock.ShutWrite != 0 {
		c.mu.Lock()
		c.shutWrite.Store(true)
		errs[1] = c.CloseWrite()
		_ = c.SetWriteDeadline(time.Unix(1, 0))
		c.mu.Unlock()
	}
	return errors.Join(bare(errs[0]), bare(errs[1]))
}

func (c *conn) setWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shutWrite.Load() {
		return nil // nothing waits any more
	}
	return bare(c.SetWriteDeadline(t))
}

// number asks the system for a number.
func (c *conn) number(call func(fd int) (int, error)) (v uint64, err error) {
	err = c.wait(syscall.RawConn.Read, false, func(fd int) error {
		n, err := call(fd)
		v = uint64(max(n, 0))
		return err
	})
	return v, err
}

func (c *conn) unread() (uint64, error) {
	if c.shutRead.Load() {
		return 0, nil
	}
	return c.number(func(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCINQ) })
}

// accept takes a connection from a listener.
func accept(l *unixsocket.Listener, block bool) (*net.UnixConn, error) {
	if block {
		return l.AcceptUnix()
	}
	rc, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	var nfd int
	var aerr error
	if err := rc.Control(func(fd uintptr) {
		nfd, _, aerr = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	}); err != nil {
		return nil, err
	}
	if aerr != nil {
		return nil, aerr
	}
	f := os.NewFile(uintptr(nfd), "accepted")
	defer func() { _ = f.Close() }() // FileConn has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, _ := c.(*net.UnixConn)
	return u, nil
}

// setBacklog calls listen again. To the kernel, a queue is full when it holds one
// more than its backlog.
func setBacklog(l *unixsocket.Listener, backlog int) error {
	rc, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := rc.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), max(backlog-1, 0)) }); err != nil {
		return bare(err)
	}
	return lerr
}

// bare takes off what net and os wrap around an error of the system.
func bare(err error) error {
	if err == nil {
		return nil // and no memory is taken for the variables below
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var se *os.SyscallError
	if errors.As(err, &se) {
		err = se.Err
	}
	return err
}
