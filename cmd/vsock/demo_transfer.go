package main

import (
	"context"
	"fmt"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

// fromPeer has the guest send, and this program receive.
func (d *demo) fromPeer(ctx context.Context) (string, error) {
	ln, err := vsock.Listen(ctx, d.host, vsock.Addr{CID: vsock.CIDAny, Port: portHostReceive})
	if err != nil {
		return "", err
	}
	defer func() { _ = ln.Close() }()
	bar := d.report.bar(d.bytes)
	defer bar.done()

	received := make(chan error, 1)
	go func() {
		c, err := ln.AcceptConn()
		if err != nil {
			received <- err
			return
		}
		defer func() { _ = c.Close() }()
		n, err := transfer.Receive(c, bar.add)
		if err == nil && n != d.bytes {
			err = fmt.Errorf("%d bytes came, not %d", n, d.bytes)
		}
		received <- err
	}()
	var o guestpeer.Outcome
	err = d.peers[0].Call(ctx, guestpeer.CmdSend, guestpeer.Transfer{
		To: vsock.Addr{CID: vsock.CIDHost, Port: portHostReceive}, Bytes: d.bytes, Conns: 1,
	}, &o)
	if err != nil {
		return "", err // the deferred Close ends the receiver
	}
	return d.speed(o.Took), <-received
}

// toPeer has this program send, and the guest receive.
func (d *demo) toPeer(ctx context.Context) (string, error) {
	var to vsock.Addr
	err := d.peers[0].Call(ctx, guestpeer.CmdListen, guestpeer.Listen{Port: portPeerReceive, Service: guestpeer.ServiceReceive}, &to)
	if err != nil {
		return "", err
	}
	c, err := vsock.Dial(ctx, d.host, to)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	bar := d.report.bar(d.bytes)
	defer bar.done()
	start := time.Now()
	if err := transfer.Send(c, d.bytes, 1, bar.add); err != nil {
		return "", err
	}
	return d.speed(time.Since(start)), nil
}

func (d *demo) speed(took time.Duration) string {
	return fmt.Sprintf("%d MiB in %.2f s, %.0f MiB/s", d.bytes>>20, took.Seconds(), float64(d.bytes>>20)/took.Seconds())
}

// betweenPeers has one guest send to another, once they are in one group.
func (d *demo) betweenPeers(ctx context.Context, from, to peer) (string, error) {
	for _, p := range d.peers {
		if err := p.setGroups([]string{demoGroup}); err != nil {
			return "", err
		}
	}
	var at vsock.Addr
	err := to.Call(ctx, guestpeer.CmdListen, guestpeer.Listen{Port: vsock.PortAny, Service: guestpeer.ServiceReceive}, &at)
	if err != nil {
		return "", err
	}
	at.CID = to.cid
	var o guestpeer.Outcome
	if err := from.Call(ctx, guestpeer.CmdSend, guestpeer.Transfer{To: at, Bytes: d.bytes, Conns: 1}, &o); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v -> %v, %s", o.Local, o.Remote, d.speed(o.Took)), nil
}
