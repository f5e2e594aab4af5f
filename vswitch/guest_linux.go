package vswitch

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"vsockets.dev/internal/device"
	"vsockets.dev/internal/vhostuser"
)

// Guest is a virtual machine that is joined to a switch. It may come and go:
// its socket stays, and whoever connects to it next is the guest again.
type Guest struct {
	config GuestConfig
	port   *port
	device *device.Device
	socket *unixSocket

	closed  atomic.Bool
	session atomic.Pointer[context.CancelCauseFunc] // ends the session that runs
	stop    context.CancelFunc
	done    chan struct{} // closed when no session runs any more
}

// AddGuest joins a guest, and listens on its socket. Close takes it out.
func (sw *Switch) AddGuest(c GuestConfig) (*Guest, error) {
	if err := checkCID(c.CID); err != nil {
		return nil, err
	}
	g := &Guest{config: c, done: make(chan struct{})}
	g.port = &port{sw: sw, cid: c.CID, owner: g}
	g.device = device.New(device.Config{
		CID:  c.CID,
		Out:  g.port,
		Down: func() { sw.peerGone(c.CID) },
		Fail: g.fail,
	})
	g.port.to = g.device
	if err := sw.plug(g.port); err != nil {
		return nil, err
	}
	var err error
	if g.socket, err = listenUnix(c.Socket); err != nil {
		sw.unplug(g.port)
		return nil, fmt.Errorf("vswitch: guest %d: %w", c.CID, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	go func() {
		defer close(g.done)
		g.serve(ctx)
	}()
	return g, nil
}

// Counters counts the guest's packets that were not passed on.
func (g *Guest) Counters() Counters {
	c := g.port.counters()
	c.Malformed, c.Dropped = g.device.Counters()
	return c
}

// Close ends the guest's session, removes its socket and takes it out of the switch.
func (g *Guest) Close() error {
	if !g.closed.CompareAndSwap(false, true) {
		return fmt.Errorf("vswitch: %s is closed already", g)
	}
	g.stop()
	err := g.socket.Close()
	<-g.done
	g.port.sw.unplug(g.port)
	return err
}

// serve serves one front-end after another. One that comes while another is
// there waits for it to leave: a virtual machine that starts anew may be faster
// than the end of its former self.
func (g *Guest) serve(ctx context.Context) {
	for {
		conn, err := g.socket.AcceptUnix()
		if err != nil {
			return
		}
		g.serveOne(ctx, conn)
	}
}

func (g *Guest) serveOne(ctx context.Context, conn *net.UnixConn) {
	log := g.port.sw.log.With("cid", g.port.cid, "socket", g.config.Socket)
	log.Info("guest connected")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.session.Store(&cancel)
	err := vhostuser.Serve(ctx, conn, g.device)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	log.Info("guest disconnected", "reason", err)
}

// fail ends the session of a guest that broke its rings.
func (g *Guest) fail(err error) {
	if cancel := g.session.Load(); cancel != nil {
		(*cancel)(err)
	}
}
