package guestpeer

import (
	"context"
	"net"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

// Forward asks for a TCP listener, each of whose connections is joined to a new
// one to a vSockets address. Together with ServiceTCP at the other end it is the
// TCP that a program in a guest wants beside its vSockets: the guest has no
// network but its own loopback.
type Forward struct {
	TCP string // the address to listen on, which gives any port if that is 0
	To  vsock.Addr
}

func (p *Peer) forward(ctx context.Context, a Forward) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.TCP)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	p.forwards = append(p.forwards, l)
	p.mu.Unlock()
	p.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serveForward(c, a.To) })
		}
	})
	return l.Addr().String(), nil
}

func (p *Peer) serveForward(c net.Conn, to vsock.Addr) {
	defer func() { _ = c.Close() }()
	if out, err := vsock.Dial(context.Background(), p.stack, to); err == nil {
		_ = relay.Join(c.(*net.TCPConn), out) //nolint:forcetypeassert // what a TCP listener accepts
	}
}

func (p *Peer) serveTCP(c *vsock.Conn, to string) {
	var d net.Dialer
	if out, err := d.DialContext(context.Background(), "tcp", to); err == nil {
		_ = relay.Join(c, out.(*net.TCPConn)) //nolint:forcetypeassert // what dialing TCP gives
	}
}
