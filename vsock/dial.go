package vsock

import (
	"context"
	"net"
	"time"
)

// Dialer has the options of a connection. The zero value is ready to use.
type Dialer struct {
	// Stack is where to connect from. Default: Kernel().
	Stack Stack

	// Type is Stream or Seqpacket. Default: Stream.
	Type Type

	// LocalAddr is the address to bind first. Default: the stack's own CID and
	// an ephemeral port.
	LocalAddr *Addr

	// Timeout is the connect timeout, SO_VMCI_CONNECT_TIMEOUT. Default:
	// DefaultConnectTimeout, 2 s.
	Timeout time.Duration

	// Buffers sets the buffer options of the connection, which it proposes to the
	// peer. Default: the guide's.
	Buffers Buffers

	// ToHost sets the option of that name. Default: a CID above 2 may be a guest of
	// this machine.
	ToHost bool
}

// Dial connects on a stack with default options; a nil stack is the kernel's. Its
// errors are those of Dialer.Dial.
func Dial(ctx context.Context, s Stack, a Addr) (*Conn, error) {
	return (&Dialer{Stack: s}).Dial(ctx, a)
}

// DialContext connects to an address in any form that ParseAddr reads. It has
// the shape that http.Transport.DialContext and gRPC's WithContextDialer ask
// for, so network may be anything: they say "tcp".
func (d *Dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	a, err := ParseAddr(address)
	if err != nil {
		return nil, opError("dial", nil, nil, err)
	}
	c, err := d.Dial(ctx, a)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Dial connects to a. Where nobody listens, the backlog is full, there is no such
// CID or a policy denies it, the error matches syscall.ECONNREFUSED and
// syscall.ECONNRESET; without an answer within the timeout it is syscall.ETIMEDOUT;
// syscall.EINVAL says that the peer's offer of a buffer size is outside of Buffers,
// or that a is no address of one socket. When the context ends first, its error is
// returned at once.
func (d *Dialer) Dial(ctx context.Context, a Addr) (*Conn, error) {
	c, err := d.dial(ctx, a)
	if err != nil {
		return nil, opError("dial", nil, a, err)
	}
	return c, nil
}

func (d *Dialer) dial(ctx context.Context, a Addr) (_ *Conn, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := stackOr(d.Stack).Socket(typeOr(d.Type))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if d.Timeout > 0 {
		if err := s.SetOption(ConnectTimeout, uint64(d.Timeout)); err != nil {
			return nil, err
		}
	}
	if err := d.Buffers.apply(s); err != nil {
		return nil, err
	}
	if d.ToHost {
		if err := s.SetOption(ToHost, 1); err != nil {
			return nil, err
		}
	}
	if d.LocalAddr != nil {
		if err := s.Bind(*d.LocalAddr); err != nil {
			return nil, err
		}
	}
	if err := s.Connect(ctx, a); err != nil {
		return nil, connectError(err)
	}
	return newConn(s, a)
}

// typeOr gives Stream in place of none.
func typeOr(t Type) Type {
	if t == 0 {
		return Stream
	}
	return t
}

// stackOr gives the kernel's stack in place of none.
func stackOr(s Stack) Stack {
	if s == nil {
		return Kernel()
	}
	return s
}
