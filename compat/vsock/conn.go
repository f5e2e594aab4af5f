package vsock

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

// A Conn is a connection: a net.Conn with half-close.
type Conn struct {
	s             vsock.Socket
	local, remote *Addr
	closed        atomic.Bool
}

var (
	_ net.Conn     = (*Conn)(nil)
	_ syscall.Conn = (*Conn)(nil)
)

// Dial is DialContext without a context.
func Dial(contextID, port uint32, cfg *Config) (*Conn, error) {
	return DialContext(context.Background(), contextID, port, cfg)
}

// DialContext connects to a listener. When the context ends first, so does the attempt,
// with its error; the connection, once made, does not depend on it. A nil config is the
// default one.
func DialContext(ctx context.Context, contextID, port uint32, cfg *Config) (*Conn, error) {
	c, err := dial(ctx, vsock.Addr{CID: contextID, Port: port}, cfg.stack())
	if err != nil {
		return nil, opError(opDial, err, nil, &Addr{ContextID: contextID, Port: port})
	}
	return c, nil
}

func dial(ctx context.Context, a vsock.Addr, stack vsock.Stack) (*Conn, error) {
	s, err := stack.Socket(vsock.Stream)
	if err != nil {
		return nil, call("socket", err)
	}
	if err := s.Connect(ctx, a); err != nil {
		_ = s.Close()
		return nil, call("connect", err)
	}
	local, err := s.LocalAddr()
	if err != nil {
		_ = s.Close()
		return nil, call("getsockname", err)
	}
	return &Conn{s: s, local: fromAddr(local), remote: fromAddr(a)}, nil
}

// Read reads up to len(b) bytes, or gives io.EOF after all data.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.s.Read(b)
	return n, c.opError(opRead, err)
}

// Write writes all of b, or fails.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.s.Write(b)
	return n, c.opError(opWrite, err)
}

// Close closes the connection. Closing it again does nothing.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.opError(opClose, call("close", c.s.Close()))
}

// CloseRead shuts down the reading side.
func (c *Conn) CloseRead() error { return c.shutdown(vsock.ShutRead) }

// CloseWrite shuts down the writing side: the other end reads io.EOF after all data.
func (c *Conn) CloseWrite() error { return c.shutdown(vsock.ShutWrite) }

func (c *Conn) shutdown(how vsock.How) error {
	return c.opError(opClose, call("shutdown", c.s.Shutdown(how)))
}

// LocalAddr is the address of this end, an *Addr, the same at each call: it is not to
// be changed.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the address of the other end, an *Addr, the same at each call: it is not
// to be changed.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; the zero time is none.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline limits Read calls.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.opError(opSet, c.s.SetReadDeadline(t))
}

// SetWriteDeadline limits Write calls.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.opError(opSet, c.s.SetWriteDeadline(t))
}

// SyscallConn gives the descriptor for system calls of one's own, where the stack is
// one of the system's.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	return rawConnOf(c.s, &c.closed, c.local, c.remote)
}

func (c *Conn) opError(op string, err error) error { return opError(op, err, c.local, c.remote) }
