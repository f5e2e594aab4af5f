package vswitch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"vsockets.dev/hybrid"
	"vsockets.dev/internal/unixsocket"
)

// Guest is a virtual machine that is joined to a switch. It may come and go:
// its socket stays, and whoever connects to it next is the guest again.
type Guest struct {
	*machine
	config GuestConfig
	socket net.Listener
	hybrid *hybrid.Server // nil: none in front of it
	served chan struct{}  // closed when hybrid serves no more

	closed atomic.Bool
	stop   context.CancelFunc
	done   chan struct{} // closed when no session runs any more

	mu   sync.Mutex
	next uint32 // the CID from the next boot on; 0: the same
}

// AddGuest joins a guest, and listens on its socket. Close takes it out. A front-end
// that comes while another is there waits for it to leave: a virtual machine that
// starts anew may be faster than the end of its former self.
func (sw *Switch) AddGuest(c GuestConfig) (*Guest, error) {
	g := &Guest{config: c, done: make(chan struct{})}
	var err error
	if g.machine, err = sw.newMachine(c.CID, c.Groups, c.Limits, g); err != nil {
		return nil, err
	}
	if err := sw.canHave(c.CID); err != nil {
		return nil, err // before its socket is touched
	}
	if g.socket, err = listen(c.Socket, c.Listener, unixsocket.Listen, sw.log); err != nil {
		return nil, fmt.Errorf("vswitch: guest %d: %w", c.CID, err)
	}
	if err := g.openHybrid(); err != nil {
		return nil, errors.Join(err, g.socket.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	if err := sw.plug(g.port); err != nil {
		stop()
		return nil, errors.Join(err, g.socket.Close(), g.closeHybrid())
	}
	pace := newPace(guestSessions)
	go func() {
		defer close(g.done)
		serveAll(g.socket, func(conn *net.UnixConn) {
			if !pace.enter(ctx) {
				_ = conn.Close()
				return
			}
			g.changeNext()
			g.serve(ctx, conn)
		})
	}()
	return g, nil
}

// SetCID gives the guest another CID. One that runs is told, where its front-end
// leaves the event queue to the switch, as User Mode Linux does; its connections
// are reset. Else, as with QEMU, it has the new CID when it boots again, and later
// says so.
func (g *Guest) SetCID(cid uint32) (later bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if cid == g.CID() {
		g.next = 0
		return false, nil
	}
	if g.session.Load() != nil && !g.device.HasEvents() {
		if err := g.port.sw.canHave(cid); err != nil {
			return false, err
		}
		g.next = cid
		return true, nil
	}
	g.next = 0
	return false, g.change(cid)
}

// change needs mu.
func (g *Guest) change(cid uint32) error {
	if err := g.port.sw.move(g.port, cid); err != nil {
		return err
	}
	g.device.ChangeCID(cid)
	return nil
}

// changeNext gives the guest the CID that waits for its next boot.
func (g *Guest) changeNext() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if cid := g.next; cid != 0 {
		g.next = 0
		if err := g.change(cid); err != nil {
			g.port.sw.log.Warn("the guest keeps its CID", "cid", g.CID(), "reason", err)
		}
	}
}

// Counters counts the guest's packets that were not passed on.
func (g *Guest) Counters() Counters { return g.counters() }

func (g *Guest) info(i *Info) {
	g.machine.info(i)
	i.Kind, i.Socket, i.Hybrid = KindGuest, g.config.Socket, g.config.Hybrid
	g.mu.Lock()
	i.NextCID = g.next
	g.mu.Unlock()
}

// Close ends the guest's session, removes its socket and takes it out of the switch.
func (g *Guest) Close() error {
	if !g.closed.CompareAndSwap(false, true) {
		return fmt.Errorf("vswitch: %s is closed already", g)
	}
	g.stop()
	err := errors.Join(g.socket.Close(), g.closeHybrid())
	<-g.done
	g.port.sw.unplug(g.port)
	return err
}
