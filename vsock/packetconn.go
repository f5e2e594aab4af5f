package vsock

import (
	"context"
	"net"
	"syscall"
	"time"
)

// A PacketConn sends and receives datagrams: a net.PacketConn.
type PacketConn struct {
	s     Socket
	local Addr
}

var _ net.PacketConn = (*PacketConn)(nil)

// ListenPacket makes a datagram socket, bound to a. A nil stack is the kernel's,
// which has datagrams only where VMCI carries them.
func ListenPacket(ctx context.Context, s Stack, a Addr) (*PacketConn, error) {
	c, err := listenPacket(ctx, s, a)
	if err != nil {
		return nil, opError("listen", nil, a, err)
	}
	return c, nil
}

func listenPacket(ctx context.Context, st Stack, a Addr) (_ *PacketConn, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := stackOr(st).Socket(Datagram)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if err := s.Bind(a); err != nil {
		return nil, err
	}
	local, err := s.LocalAddr()
	if err != nil {
		return nil, err
	}
	return &PacketConn{s: s, local: local}, nil
}

// Socket gives the socket beneath.
func (c *PacketConn) Socket() Socket { return c.s }

// ReadFrom takes one datagram, and tells its sender, an [Addr]. What does not fit
// p is lost.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, _, from, err := c.s.RecvFrom(p, 0)
	if err != nil {
		return n, nil, opError("read", c.local, nil, err)
	}
	return n, from, nil
}

// WriteTo sends one datagram of at most MaxDatagram bytes to an [Addr]. EMSGSIZE:
// it is larger. A datagram that arrives where nobody receives it is lost.
func (c *PacketConn) WriteTo(p []byte, to net.Addr) (int, error) {
	a, ok := to.(Addr)
	if !ok {
		return 0, opError("write", c.local, to, syscall.EINVAL)
	}
	n, err := c.s.SendTo(p, 0, a)
	if err != nil {
		err = opError("write", c.local, a, err)
	}
	return n, err
}

// Close releases the socket.
func (c *PacketConn) Close() error { return opError("close", c.local, nil, c.s.Close()) }

// LocalAddr is the address of the socket, an [Addr].
func (c *PacketConn) LocalAddr() net.Addr { return c.local }

// SetDeadline sets both deadlines; the zero time is none.
func (c *PacketConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline limits ReadFrom, also where it waits already.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	return opError("set", c.local, nil, c.s.SetReadDeadline(t))
}

// SetWriteDeadline limits WriteTo, also where it waits already.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	return opError("set", c.local, nil, c.s.SetWriteDeadline(t))
}
