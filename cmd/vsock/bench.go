package main

import (
	"context"
	"net"
	"os"
	"strings"

	"vsockets.dev"
	"vsockets.dev/internal/bench/compare"
	"vsockets.dev/internal/unixsocket"
	"vsockets.dev/vsock"
)

// benchCommand measures connections.
type benchCommand struct {
	Serve   benchServe   `cmd:"" help:"Be the far end of measurements."`
	Run     benchRun     `cmd:"" help:"Measure connections to a far end."`
	Compare benchCompare `cmd:"" help:"Compare Unix sockets, TCP and the ways of this project, in one run."`
	Scale   benchScale   `cmd:"" help:"Measure what many contexts and connections cost."`
	Relay   benchRelay   `cmd:"" help:"Compare what goes through vsock forward with socat."`
	Guest   benchGuest   `cmd:"" help:"Compare this device with vhost-device-vsock, in real guests."`
	Render  benchRender  `cmd:"" help:"Show a stored comparison, as tables or as a picture."`
	End     benchEnd     `cmd:"" hidden:""`
}

// Help is what --help shows beside the flags.
func (*benchCommand) Help() string {
	return `Examples:

  vsock bench serve any:5000

  vsock bench run 3:5000 --streams 4 --json

  vsock bench compare --only unix --only attach-host

` + exitHelp
}

// benchEnd is a child of benchCompare.
type benchEnd struct{}

// Run serves the parent.
func (benchEnd) Run() error { return compare.ServeEnd(os.Stdin, os.Stdout) }

// openStack opens the stack that --stack names. It lasts as long as the program.
var openStack = func(uri string) (vsock.Stack, error) { return vsockets.Open(uri) }

// benchAddr is where a server is: an address of vsock, or another one to compare
// with.
type benchAddr struct {
	stackFlag
	Addr string `arg:"" help:"CID:port, or unix:PATH, or tcp:HOST:PORT."`
}

// plain says whether it is one of the operating system's other networks.
func (a *benchAddr) plain() (network, addr string, ok bool) {
	network, addr, ok = strings.Cut(a.Addr, ":")
	return network, addr, ok && (network == "unix" || network == "tcp")
}

func (a *benchAddr) vsock() (vsock.Stack, vsock.Addr, error) {
	to, err := vsock.ParseAddr(a.Addr)
	if err != nil {
		return nil, to, withStatus(exitUsage, err)
	}
	s, err := openStack(a.Stack)
	return s, to, dialStatus(err)
}

func (a *benchAddr) listen(ctx context.Context) (net.Listener, error) {
	switch network, addr, ok := a.plain(); {
	case ok && network == "unix":
		l, err := unixsocket.Listen(addr)
		if err != nil {
			return nil, err
		}
		return l, nil
	case ok:
		return new(net.ListenConfig).Listen(ctx, network, addr)
	}
	s, at, err := a.vsock()
	if err != nil {
		return nil, err
	}
	l, err := vsock.Listen(ctx, s, at)
	if err != nil {
		return nil, remedyListen(err)
	}
	return l, nil
}

// dialer opens the stack once, for all connections.
func (a *benchAddr) dialer() (func(context.Context) (net.Conn, error), error) {
	if network, addr, ok := a.plain(); ok {
		return func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}, nil
	}
	s, to, err := a.vsock()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := vsock.Dial(ctx, s, to)
		if err != nil {
			return nil, err
		}
		return c, nil
	}, nil
}
