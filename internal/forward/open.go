package forward

import (
	"context"
	"fmt"
	"net"

	"vsockets.dev/internal/relay"
	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// stack gives the stack of a Vsock, Kernel or Host endpoint.
func (c *Config) stack(k Kind) (vsock.Stack, error) {
	switch {
	case c.Stack != nil:
		return c.Stack(k)
	case k == Host:
		return nil, fmt.Errorf("only a switch has the host's context; write %s:CID:PORT", Vsock)
	}
	return vsock.Kernel(), nil
}

// listen opens the end that connections come from.
func (c *Config) listen(ctx context.Context) (net.Listener, error) {
	if c.Listener != nil {
		return c.Listener, nil
	}
	e := c.Spec.From
	switch e.Kind {
	case TCP:
		return new(net.ListenConfig).Listen(ctx, "tcp", e.Address)
	case Unix:
		return unixsocket.Listen(e.Address)
	case Vsock, Kernel, Host:
		s, err := c.stack(e.Kind)
		if err != nil {
			return nil, err
		}
		a := e.Addr
		if e.Kind == Host {
			a.CID = vsock.CIDAny // the host reaches itself by CID 1 too
		}
		return vsock.Listen(ctx, s, a)
	default: // one connection, which is there already
		conn, err := c.dial(ctx, e)
		if err != nil {
			return nil, err
		}
		return &once{conn: conn}, nil
	}
}

// dial makes a connection to an endpoint.
func (c *Config) dial(ctx context.Context, e Endpoint) (relay.Conn, error) {
	switch e.Kind {
	case TCP, Unix:
		conn, err := new(net.Dialer).DialContext(ctx, string(e.Kind), e.Address)
		if err != nil {
			return nil, err
		}
		return conn.(relay.Conn), nil //nolint:forcetypeassert // a TCP or Unix connection is one
	case Vsock, Kernel, Host:
		s, err := c.stack(e.Kind)
		if err != nil {
			return nil, err
		}
		conn, err := (&vsock.Dialer{Stack: s, Timeout: c.DialTimeout}).Dial(ctx, e.Addr)
		if err != nil {
			return nil, err
		}
		return conn, nil
	case Stdio:
		return newStdio(c.Stdin, c.Stdout), nil
	case Exec:
		p, err := startProcess(e.Address, c.Stderr)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	return nil, fmt.Errorf("%q is no kind of endpoint; write one of %s", e.Kind, forms)
}
