package vsock

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"
)

// ListenConfig has the options of a listener. The zero value is ready to use.
type ListenConfig struct {
	// Stack is where to listen. Default: Kernel().
	Stack Stack

	// Type is Stream or Seqpacket. Default: Stream.
	Type Type

	// Backlog is how many connections may wait for Accept; a further one is
	// refused. Default: DefaultBacklog.
	Backlog int

	// Buffers sets the buffer options of the connections.
	Buffers Buffers
}

// Buffers are the buffer options of the vSockets guide, "Set and Get Socket
// Options", in bytes. Zero leaves an option at its default.
type Buffers struct {
	Size uint64 // SO_VMCI_BUFFER_SIZE, default 65536; on Linux's own stack 262144
	Min  uint64 // SO_VMCI_BUFFER_MIN_SIZE, default 128
	Max  uint64 // SO_VMCI_BUFFER_MAX_SIZE, default 262144
}

// apply sets the limits before the size, which they clamp.
func (b Buffers) apply(s Socket) error {
	for _, set := range []struct {
		o Option
		v uint64
	}{{BufferMaxSize, b.Max}, {BufferMinSize, b.Min}, {BufferSize, b.Size}} {
		if set.v == 0 {
			continue
		}
		if err := s.SetOption(set.o, set.v); err != nil {
			return err
		}
	}
	return nil
}

// Listen listens on a stack with default options; a nil stack is the kernel's. Its
// errors are those of ListenConfig.Listen.
func Listen(ctx context.Context, s Stack, a Addr) (*Listener, error) {
	return (&ListenConfig{Stack: s}).Listen(ctx, a)
}

// Listen binds to a and listens, as the guide's "Bind() Function" and "Listen()
// Function" say. The context is for the set-up only. The errors are those of
// Socket.Bind: syscall.EADDRINUSE, EADDRNOTAVAIL and EACCES for the most part.
func (c *ListenConfig) Listen(ctx context.Context, a Addr) (*Listener, error) {
	l, err := c.listen(ctx, a)
	if err != nil {
		return nil, opError("listen", nil, a, err)
	}
	return l, nil
}

func (c *ListenConfig) listen(ctx context.Context, a Addr) (_ *Listener, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Type == Datagram {
		return nil, fmt.Errorf("datagram sockets do not listen; use ListenPacket: %w", syscall.EOPNOTSUPP)
	}
	s, err := stackOr(c.Stack).Socket(typeOr(c.Type))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if err := c.Buffers.apply(s); err != nil {
		return nil, err
	}
	if err := s.Bind(a); err != nil {
		return nil, err
	}
	backlog := c.Backlog
	if backlog == 0 {
		backlog = DefaultBacklog
	}
	if err := s.Listen(backlog); err != nil {
		return nil, err
	}
	local, err := s.LocalAddr()
	if err != nil {
		return nil, err
	}
	return &Listener{s: s, addr: local}, nil
}

// A Listener accepts connections: a net.Listener.
type Listener struct {
	s    Socket
	addr Addr
}

var _ net.Listener = (*Listener)(nil)

// Socket gives the socket beneath the listener.
func (l *Listener) Socket() Socket { return l.s }

// Accept waits for the next connection; it is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn waits for the next connection.
func (l *Listener) AcceptConn() (*Conn, error) {
	s, remote, err := l.s.Accept()
	if err != nil {
		return nil, opError("accept", nil, l.addr, err)
	}
	c, err := newConn(s, remote)
	if err != nil {
		_ = s.Close()
		return nil, opError("accept", nil, l.addr, err)
	}
	return c, nil
}

// Close stops listening and resets the connections that nobody accepted.
func (l *Listener) Close() error { return opError("close", nil, l.addr, l.s.Close()) }

// Addr is the address that the listener is bound to, an [Addr].
func (l *Listener) Addr() net.Addr { return l.addr }

// SetDeadline limits Accept calls, also those that wait already.
func (l *Listener) SetDeadline(t time.Time) error {
	return opError("set", nil, l.addr, l.s.SetReadDeadline(t))
}
