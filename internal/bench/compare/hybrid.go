package compare

import (
	"context"
	"errors"
	"net"
	"path/filepath"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// hybridNetwork is the network of a Place behind the Unix sockets of Firecracker.
const hybridNetwork = "hybrid"

// hybridSockets is a child that reaches a guest by Unix sockets, as Firecracker has
// them. The guest is a context of this process, which also serves the sockets.
type hybridSockets struct{}

func (hybridSockets) Name() string { return hybridNetwork }

func (hybridSockets) Open(ctx context.Context, dir string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		sw := vswitch.New(vswitch.Config{})
		c.add(sw.Close)
		guest, err := sw.AddContext(vswitch.ContextConfig{CID: nearCID})
		if err != nil {
			return err
		}
		inGuest, err := listen(ctx, guest)
		if err != nil {
			return err
		}
		c.serve(inGuest)
		path := filepath.Join(dir, "v")
		l, err := unixsocket.Listen(path)
		if err != nil {
			return err
		}
		s := hybrid.NewServer(hybrid.ServerConfig{
			Path: path,
			Dial: func(ctx context.Context, port uint32) (*vsock.Conn, error) {
				return vsock.Dial(ctx, sw.Host(), vsock.Addr{CID: nearCID, Port: port})
			},
		})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		c.add(func() error {
			err := s.Close()
			if serr := <-served; !errors.Is(serr, hybrid.ErrServerClosed) {
				err = errors.Join(err, serr)
			}
			return err
		})
		e, err := c.spawn(ctx, child, Place{Network: hybridNetwork, Addr: path, CID: nearCID})
		if err != nil {
			return err
		}
		c.run = e.Run
		return nil
	})
}

// hybridDialer is the child's end.
func hybridDialer(p Place) (dial func(context.Context) (net.Conn, error), end func() error) {
	st := hybrid.NewStack(p.Addr, hybrid.StackConfig{GuestCID: p.CID})
	return dialer(st, vsock.Addr{CID: p.CID, Port: port}), st.Close
}
