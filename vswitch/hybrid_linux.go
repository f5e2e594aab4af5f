package vswitch

import (
	"context"
	"fmt"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/stack"
	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// This file puts a server of the Unix-socket protocol of package hybrid in front of a guest.

func (g *Guest) openHybrid() error {
	path := g.config.Hybrid
	if path == "" {
		return nil
	}
	l, err := unixsocket.Listen(path)
	if err != nil {
		return fmt.Errorf("vswitch: guest %d: hybrid: %w", g.config.CID, err)
	}
	g.hybrid = hybrid.NewServer(hybrid.ServerConfig{
		Path: path,
		Log:  g.port.sw.log,
		Dial: func(ctx context.Context, port uint32) (*vsock.Conn, error) {
			return vsock.Dial(ctx, g.port.sw.host, vsock.Addr{CID: g.CID(), Port: port})
		},
	})
	g.served = make(chan struct{})
	go func() {
		defer close(g.served)
		_ = g.hybrid.Serve(l) // until Close
	}()
	return nil
}

func (g *Guest) closeHybrid() error {
	if g.hybrid == nil {
		return nil
	}
	err := g.hybrid.Close()
	<-g.served // its socket has gone too, even if Serve began after that
	return err
}

// offered is asked about a connection of the guest to a port of the host where nobody
// listens.
func (g *Guest) offered(o *stack.Offer) bool {
	if g.hybrid == nil || o.Type != vsock.Stream {
		return false
	}
	go g.join(o)
	return true
}

// join joins the connection to the program at the Unix socket of that port, if there
// is one.
func (g *Guest) join(o *stack.Offer) {
	host, err := g.hybrid.DialHost(context.Background(), o.Local.Port)
	if err != nil {
		o.Refuse()
		return
	}
	s, err := o.Accept()
	if err != nil {
		_ = host.Close()
		return
	}
	c, err := vsock.NewConn(s)
	if err != nil {
		_ = s.Close()
		_ = host.Close()
		return
	}
	if err := host.Join(c); err != nil {
		g.port.sw.log.Debug("a connection to the host was cut short", "cid", g.CID(), "reason", err)
	}
}
