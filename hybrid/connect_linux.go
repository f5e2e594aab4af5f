package hybrid

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/vsock"
)

// How long a Connect waits before it tries again, where the server's backlog is
// full: the system does not tell when there is room.
const (
	backlogRetryFirst = time.Millisecond
	backlogRetryMost  = 50 * time.Millisecond
)

// attempt is a Connect under way.
type attempt struct {
	ctx    context.Context // ends with the timeout, and when the socket is closed
	cancel context.CancelFunc
}

// Connect implements vsock.Socket. Where the guest refuses, or is not running,
// that is ECONNRESET, and EPROTO where something else serves the Unix socket; where
// that is not there, the error is fs.ErrNotExist and tells its path.
func (s *socket) Connect(ctx context.Context, a vsock.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	nonblock := s.nonblock.Load()
	if nonblock {
		ctx = context.WithoutCancel(ctx) // it goes on when this call has ended
	}
	at, err := s.begin(ctx, a)
	if err != nil {
		return err
	}
	if !nonblock {
		return s.connect(ctx, at, a, func(error) {})
	}
	go func() { _ = s.connect(ctx, at, a, func(err error) { s.failed = err }) }()
	return syscall.EINPROGRESS
}

// begin says why the socket cannot connect to an address now, or begins that.
func (s *socket) begin(ctx context.Context, a vsock.Addr) (*attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.conn.Load() != nil:
		return nil, syscall.EISCONN
	case s.attempt != nil:
		return nil, syscall.EALREADY
	case s.failed != nil:
		err := s.failed
		s.failed = nil
		return nil, err
	case s.listener.Load() != nil, a.CID == vsock.CIDAny, a.Port == vsock.PortAny:
		return nil, syscall.EINVAL
	case s.bound:
		return nil, vsock.ErrNotSupported
	case a.CID != s.st.guest:
		return nil, syscall.ENETUNREACH
	}
	at := new(attempt)
	at.ctx, at.cancel = context.WithTimeout(ctx, s.opt.timeout)
	s.attempt = at
	s.changed()
	return at, nil
}

// connect goes through with an attempt that was begun under ctx. It calls told with
// the outcome under mu.
func (s *socket) connect(ctx context.Context, at *attempt, a vsock.Addr, told func(error)) error {
	defer at.cancel()
	c, local, err := open(at.ctx, s.st.path, a.Port)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		if err == nil {
			_ = c.Close()
		}
		return net.ErrClosed
	case err == nil:
		_ = c.SetReadDeadline(s.readDeadline)
		_ = c.SetWriteDeadline(s.writeDeadline)
		s.conn.Store(&conn{UnixConn: c, local: vsock.Addr{CID: vsock.CIDHost, Port: local}, remote: a})
	case ctx.Err() != nil:
		err = ctx.Err()
	case at.ctx.Err() != nil:
		err = syscall.ETIMEDOUT
	}
	told(err)
	s.attempt = nil
	s.changed()
	return err
}

// open makes a connection to a port of the guest, and tells the port that it has
// on the host's side.
func open(ctx context.Context, path string, port uint32) (*net.UnixConn, uint32, error) {
	c, err := dial(ctx, path)
	if err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	local, err := handshake(c, port)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = c.Close()
		return nil, 0, err
	}
	return c, local, nil
}

// dial connects to the Unix socket. A full backlog is waited out.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	for retry := backlogRetryFirst; ; retry = min(2*retry, backlogRetryMost) {
		c, err := d.DialContext(ctx, "unix", path)
		switch err = bare(err); {
		case err == nil:
			u, _ := c.(*net.UnixConn)
			return u, nil
		case errors.Is(err, syscall.ECONNREFUSED):
			return nil, syscall.ECONNRESET // the socket of one who has gone
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
			<-ctx.Done() // whose deadline net may see before
			return nil, ctx.Err()
		case !errors.Is(err, syscall.EAGAIN):
			return nil, &os.PathError{Op: "connect", Path: path, Err: err}
		}
		t := time.NewTimer(retry)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

// handshake asks for a port.
func handshake(c *net.UnixConn, port uint32) (local uint32, err error) {
	if _, err = c.Write(formatLine(verbConnect, port)); err == nil {
		var line []byte
		if line, err = readAnswer(c); err == nil {
			if local, err = parseLine(line, verbOK); err != nil {
				return 0, syscall.EPROTO
			}
			return local, nil
		}
	}
	err = bare(err)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) {
		return 0, syscall.ECONNRESET // closed without an answer: refused
	}
	return 0, err
}

// readAnswer reads a line, less its line feed, and no byte beyond it, which would be
// one of the stream: it looks first, and then takes what belongs to the line.
func readAnswer(c *net.UnixConn) ([]byte, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, maxAnswer)
	for n := 0; n < len(buf); {
		var k int
		var perr error
		if err := rc.Read(func(fd uintptr) bool {
			k, _, perr = unix.Recvfrom(int(fd), buf[n:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return !errors.Is(perr, unix.EAGAIN) && !errors.Is(perr, unix.EINTR)
		}); err != nil {
			return nil, err
		}
		switch {
		case perr != nil:
			return nil, perr
		case k == 0:
			return nil, io.EOF
		}
		end := bytes.IndexByte(buf[n:n+k], '\n')
		if end >= 0 {
			k = end + 1
		}
		if _, err := io.ReadFull(c, buf[n:n+k]); err != nil {
			return nil, err
		}
		n += k
		if end >= 0 {
			return buf[:n-1], nil
		}
	}
	return nil, syscall.EPROTO
}
