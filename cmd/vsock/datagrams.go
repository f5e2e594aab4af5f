package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	vsockets "vsockets.dev"
	"vsockets.dev/vsock"
)

// datagramLinger is how long answers are waited for after the end of the input.
const datagramLinger = time.Second

// datagrams sends the input, each read of it as a datagram, and writes what comes
// back from there.
func (c *connectCommand) datagrams(ctx context.Context, out io.Writer) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	pc, err := vsock.ListenPacket(ctx, s, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	if err != nil {
		return datagramError(err)
	}
	defer func() { _ = pc.Close() }()
	if err := pc.Socket().Connect(ctx, c.Addr); err != nil {
		return dialStatus(fmt.Errorf("connecting a datagram socket to %s: %w", c.Addr, err))
	}
	sent := make(chan error, 1)
	received := make(chan error, 1)
	go func() { sent <- sendDatagrams(pc.Socket()) }()
	go func() { received <- receiveDatagrams(pc, out) }()
	for {
		select {
		case err := <-sent:
			if err != nil {
				return withStatus(exitCut, err)
			}
			sent = nil
			if err := pc.SetReadDeadline(time.Now().Add(datagramLinger)); err != nil {
				return err
			}
		case err := <-received:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return c.gone(s, withStatus(exitCut, err))
		case <-ctx.Done():
			return errInterrupted
		}
	}
}

func datagramError(err error) error {
	if errors.Is(err, vsock.ErrNotSupported) || errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%w; datagrams are for contexts of a switch (--stack switch:PATH)", err)
	}
	return err
}

func sendDatagrams(s vsock.Socket) error {
	buf := make([]byte, vsock.MaxDatagram)
	for {
		n, err := os.Stdin.Read(buf)
		if n > 0 {
			if _, err := s.Send(buf[:n], 0); err != nil {
				return fmt.Errorf("sending a datagram of %d bytes: %w", n, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
	}
}

// receiveDatagrams writes datagrams until receiving fails.
func receiveDatagrams(pc *vsock.PacketConn, out io.Writer) error {
	buf := make([]byte, vsock.MaxDatagram)
	for {
		n, _, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return outputError(err)
		}
	}
}

// datagrams writes what anybody sends, until it is interrupted: that is its
// ordinary end.
func (c *listenCommand) datagrams(ctx context.Context, s vsockets.Stack, out io.Writer) error {
	pc, err := vsock.ListenPacket(ctx, s, c.Addr)
	if err != nil {
		return datagramError(err)
	}
	defer context.AfterFunc(ctx, func() { _ = pc.Close() })()
	c.tell(pc.LocalAddr())
	err = receiveDatagrams(pc, out)
	if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
		return nil
	}
	return withStatus(exitCut, err)
}
