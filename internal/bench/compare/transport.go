package compare

import (
	"context"
	"errors"
	"net"
	"path/filepath"

	"vsockets.dev/internal/bench"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// A transport is a way between two ends.
type transport interface {
	// Name is what tables call it.
	Name() string

	// Open makes both ends, and joins them. Sockets go into dir, which is its own.
	Open(ctx context.Context, dir string, child childFunc) (link, error)
}

// A link is a transport in use.
type link interface {
	// Run does a job between the ends. errors.ErrUnsupported: there is no such
	// thing here.
	Run(ctx context.Context, j bench.Job) (bench.Result, error)

	Close() error
}

// Port is where servers listen.
const port = 1024

// maxConns is the most connections of a server: those of a job, and the extra ones.
const maxConns = bench.MaxStreams + bench.MaxExtra

// nearCID is the CID of a context of this process.
const nearCID = 3

// chain is a link with what must be closed behind it, last first.
type chain struct {
	run    func(ctx context.Context, j bench.Job) (bench.Result, error)
	closes []func() error
}

func (c *chain) Run(ctx context.Context, j bench.Job) (bench.Result, error) { return c.run(ctx, j) }

func (c *chain) add(f func() error) { c.closes = append(c.closes, f) }

func (c *chain) Close() error {
	var errs []error
	for i := len(c.closes) - 1; i >= 0; i-- {
		errs = append(errs, c.closes[i]())
	}
	c.closes = nil
	return errors.Join(errs...)
}

// serve runs a server in this process, as long as the link lasts.
func (c *chain) serve(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&bench.Server{MaxConns: maxConns}).Serve(ctx, l) }()
	c.add(func() error { cancel(); return <-done })
}

// spawn starts a child that is an end.
func (c *chain) spawn(ctx context.Context, child childFunc, p Place) (*end, error) {
	e, err := startEnd(ctx, child, p)
	if err == nil {
		c.add(e.Close)
	}
	return e, err
}

// build fills a chain, and takes it down again where that fails.
func build(f func(c *chain) error) (link, error) {
	c := new(chain)
	if err := f(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// sockets is Unix or TCP between this process and a child.
type sockets struct{ network string }

func (s sockets) Name() string { return s.network }

func (s sockets) Open(ctx context.Context, dir string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		addr := "127.0.0.1:0"
		if s.network == "unix" {
			addr = filepath.Join(dir, "s")
		}
		l, err := new(net.ListenConfig).Listen(ctx, s.network, addr)
		if err != nil {
			return err
		}
		c.serve(l)
		e, err := c.spawn(ctx, child, Place{Network: s.network, Addr: l.Addr().String()})
		if err != nil {
			return err
		}
		c.run = e.Run
		return nil
	})
}

// inproc is two contexts in this process.
type inproc struct{}

func (inproc) Name() string { return "inproc" }

func (inproc) Open(ctx context.Context, _ string, _ childFunc) (link, error) {
	return build(func(c *chain) error {
		sw := vswitch.New(vswitch.Config{})
		c.add(sw.Close)
		far, err := sw.AddContext(vswitch.ContextConfig{CID: nearCID})
		if err != nil {
			return err
		}
		l, err := listen(ctx, sw.Host())
		if err != nil {
			return err
		}
		c.serve(l)
		client := bench.Client{Dial: dialer(far, vsock.Addr{CID: vsock.CIDHost, Port: port})}
		c.run = client.Run
		return nil
	})
}

// listen takes as many connections as a job can ask for, so that a client which is
// faster than the server is not refused.
func listen(ctx context.Context, s vsock.Stack) (*vsock.Listener, error) {
	return (&vsock.ListenConfig{Stack: s, Backlog: maxConns}).Listen(ctx, vsock.Addr{CID: vsock.CIDAny, Port: port})
}

func dialer(s vsock.Stack, to vsock.Addr) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		c, err := vsock.Dial(ctx, s, to)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}
