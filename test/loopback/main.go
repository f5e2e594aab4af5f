// Command loopback compares package vsock with github.com/mdlayher/vsock, both on the
// kernel's loopback: vsock bench guest --loopback runs it in a guest. It is no part
// of that program, so that nobody else depends on the other library.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	mdlayher "github.com/mdlayher/vsock"

	"vsockets.dev/internal/bench/compare"
	"vsockets.dev/internal/testguest/guest"
	"vsockets.dev/vsock"
)

// Ports of the two servers, and how many connections may wait at ours: as many as at
// the other one, which says SOMAXCONN.
const (
	ourPort   = 1024
	otherPort = 1025
	backlog   = 4096
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if os.Getenv(guest.EnvGuest) == "" {
		return errors.New("this is for a guest: elsewhere, CID 1 can reach a hypervisor")
	}
	c, err := compare.ParseAPIArgs(args)
	if err != nil {
		return err
	}
	return compare.RunAPIs(context.Background(), c, []compare.API{
		{Name: compare.OurAPI, Listen: listen, Dial: dial},
		{Name: compare.OtherAPI, Listen: otherListen, Dial: otherDial},
	}, os.Stdout)
}

func listen(ctx context.Context) (net.Listener, error) {
	l, err := (&vsock.ListenConfig{Backlog: backlog}).Listen(ctx, vsock.Addr{CID: vsock.CIDLocal, Port: ourPort})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func dial(ctx context.Context) (net.Conn, error) {
	c, err := vsock.Dial(ctx, nil, vsock.Addr{CID: vsock.CIDLocal, Port: ourPort})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func otherListen(context.Context) (net.Listener, error) {
	l, err := mdlayher.ListenContextID(mdlayher.Local, otherPort, nil)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func otherDial(ctx context.Context) (net.Conn, error) {
	c, err := mdlayher.DialContext(ctx, mdlayher.Local, otherPort, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}
