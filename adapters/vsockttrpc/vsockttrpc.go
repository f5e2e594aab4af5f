// Package vsockttrpc is containerd's ttrpc over vSockets, which agents in virtual
// machines speak. A client, with an address that vsock.ParseAddr reads:
//
//	client, err := vsockttrpc.Dial(ctx, &vsock.Dialer{}, "vsock://3:1024")
//
// A server serves a *vsock.Listener, which is a net.Listener. RequireCID is what
// ttrpc.UnixSocketRequireSameUser is for Unix sockets:
//
//	srv, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(vsockttrpc.RequireCID(vsock.CIDHost)))
//	ln, err := vsock.Listen(ctx, nil, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
//	err = srv.Serve(ctx, ln)
//
// Package example, beside this one, is both as a program.
//
// It is a module of its own, so that users of package vsock need no ttrpc.
package vsockttrpc

import (
	"context"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/containerd/ttrpc"

	"vsockets.dev/vsock"
)

// Dial connects to a server with d, nil being the zero Dialer, and makes a client of
// the connection. The context is for connecting only.
func Dial(ctx context.Context, d *vsock.Dialer, address string, opts ...ttrpc.ClientOpts) (*ttrpc.Client, error) {
	if d == nil {
		d = new(vsock.Dialer)
	}
	c, err := d.DialContext(ctx, "vsock", address)
	if err != nil {
		return nil, err
	}
	return ttrpc.NewClient(c, opts...), nil
}

// RequireCID has a server serve those contexts only, and close other connections. A
// virtual machine cannot claim another CID than its own, but all programs in it have
// that one.
func RequireCID(cids ...uint32) ttrpc.Handshaker {
	return requireCID(slices.Clone(cids))
}

type requireCID []uint32

func (cids requireCID) Handshake(_ context.Context, c net.Conn) (net.Conn, any, error) {
	a, ok := c.RemoteAddr().(vsock.Addr)
	if !ok {
		return nil, nil, fmt.Errorf("vsockttrpc: a connection from %v, which is no vSocket: %w", c.RemoteAddr(), syscall.EPERM)
	}
	if !slices.Contains(cids, a.CID) {
		return nil, nil, fmt.Errorf("vsockttrpc: a connection from %v, which is none of the CIDs %v: %w", a, []uint32(cids), syscall.EPERM)
	}
	return c, nil, nil
}
