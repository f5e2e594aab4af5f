package vsock

import (
	"errors"
	"io"
	"net"
	"time"
)

// A Conn is a connection: a net.Conn with half-close. Of a seqpacket connection,
// each Read takes one message and each Write sends one.
type Conn struct {
	s             Socket
	local, remote Addr
}

var _ net.Conn = (*Conn)(nil)

// NewConn makes a Conn of a socket that is connected.
func NewConn(s Socket) (*Conn, error) {
	remote, err := s.RemoteAddr()
	if err != nil {
		return nil, err
	}
	return newConn(s, remote)
}

// newConn makes a Conn of a socket of which it is known whom it is connected to.
func newConn(s Socket, remote Addr) (*Conn, error) {
	local, err := s.LocalAddr()
	if err != nil {
		return nil, err
	}
	return &Conn{s: s, local: local, remote: remote}, nil
}

// Socket gives the socket beneath the connection.
func (c *Conn) Socket() Socket { return c.s }

// op is opError, and takes no memory where there is no error, or the end of data.
func (c *Conn) op(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return opError(op, c.local, c.remote, err)
}

// Read reads up to len(p) bytes. It returns io.EOF after all data once the peer
// has closed, or closed its writing side; syscall.ECONNRESET where the connection
// was cut short; os.ErrDeadlineExceeded; net.ErrClosed after Close.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.s.Read(p)
	if err != nil {
		err = c.op("read", err)
	}
	return n, err
}

// Write writes all of p, or returns an error and how much it had written:
// syscall.EPIPE once this side has closed writing, or the peer reading, and else the
// errors of Read. Of a seqpacket connection, syscall.EMSGSIZE says that p is larger
// than the peer's buffer.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.s.Write(p)
	if err != nil {
		err = c.op("write", err)
	}
	return n, err
}

// Close ends both directions and releases the connection.
func (c *Conn) Close() error { return c.op("close", c.s.Close()) }

// SetLinger says how Close ends the connection, as that of net.TCPConn: with 0 by a
// reset, which the peer reads as syscall.ECONNRESET; else in good order.
// ErrNotSupported: the stack has no such reset, as Linux's own.
func (c *Conn) SetLinger(sec int) error {
	s, ok := c.s.(interface{ SetLinger(sec int) error })
	if !ok {
		return c.op("set", ErrNotSupported)
	}
	return c.op("set", s.SetLinger(sec))
}

// CloseRead ends the reading direction: the peer's writes fail from now on.
func (c *Conn) CloseRead() error { return c.op("shutdown", c.s.Shutdown(ShutRead)) }

// CloseWrite ends the writing direction: the peer reads io.EOF after all data.
func (c *Conn) CloseWrite() error { return c.op("shutdown", c.s.Shutdown(ShutWrite)) }

// LocalAddr is the address of this end, an [Addr].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the address of the other end, an [Addr].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; the zero time is none.
func (c *Conn) SetDeadline(t time.Time) error {
	// A socket that sets both at once takes half the time for it.
	if s, ok := c.s.(interface{ SetDeadline(t time.Time) error }); ok {
		return c.op("set", s.SetDeadline(t))
	}
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline limits Read calls, also those that wait already.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.op("set", c.s.SetReadDeadline(t))
}

// SetWriteDeadline limits Write calls, also those that wait already.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.op("set", c.s.SetWriteDeadline(t))
}
