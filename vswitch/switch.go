// Package vswitch is a virtio-vsock switch in user space: it joins everything
// that has a CID, without a kernel module and without root.
//
// A [Switch] has the host's context, CID 2, any number of further contexts in
// the same program, and guests: virtual machines of QEMU, User Mode Linux and
// others, which plug in over vhost-user.
//
//	sw := vswitch.New(vswitch.Config{})
//	defer sw.Close()
//	guest, err := sw.AddGuest(vswitch.GuestConfig{CID: 3, Socket: "/run/vm3.sock"})
//	ln, err := vsock.Listen(ctx, sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
//
// Guests and contexts reach the host and are reached from it, but not one
// another. A connection to a CID that is not there, or that may not be reached,
// is refused at once.
package vswitch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"vsockets.dev/vsock"
)

// MaxContexts is the most contexts, guests included, that a switch joins.
const MaxContexts = 4096

// ErrClosed is what a closed switch says.
var ErrClosed = errors.New("vswitch: the switch is closed")

// Config is what a Switch can be told. The zero value is ready to use.
type Config struct {
	// Log gets what happens to guests: sessions begun, ended and broken off.
	// Default: nothing is logged.
	Log *slog.Logger
}

// Switch joins contexts. Use New to make one.
type Switch struct {
	log  *slog.Logger
	host *Context

	// routes is replaced, never changed, so that a packet finds its way without a lock.
	routes atomic.Pointer[map[uint32]*port]

	mu     sync.Mutex // changes of routes
	closed bool
}

// New makes a switch with the host's context.
func New(c Config) *Switch {
	sw := &Switch{log: c.Log}
	if sw.log == nil {
		sw.log = slog.New(slog.DiscardHandler)
	}
	sw.routes.Store(&map[uint32]*port{})
	sw.host = sw.newContext(ContextConfig{CID: vsock.CIDHost})
	sw.routes.Store(&map[uint32]*port{vsock.CIDHost: sw.host.port})
	return sw
}

// Host is the host's context, CID 2.
func (sw *Switch) Host() *Context { return sw.host }

// Close removes all guests and contexts. Their connections are reset.
func (sw *Switch) Close() error {
	sw.mu.Lock()
	if sw.closed {
		sw.mu.Unlock()
		return ErrClosed
	}
	sw.closed = true
	ports := *sw.routes.Load()
	sw.mu.Unlock()

	var errs []error
	for _, p := range ports {
		if p.owner != sw.host {
			errs = append(errs, p.owner.Close())
		}
	}
	return errors.Join(append(errs, sw.host.Close())...)
}

// checkCID says why a context cannot have a CID. Source: virtio 1.3 section 5.10.4.
func checkCID(cid uint32) error {
	switch cid {
	case vsock.CIDHypervisor, vsock.CIDLocal, vsock.CIDHost, vsock.CIDAny:
		return fmt.Errorf("vswitch: CID %d is reserved (0 hypervisor, 1 local, 2 host, %d any); use one from 3 on", cid, vsock.CIDAny)
	}
	return nil
}

// plug enters a port into the routes.
func (sw *Switch) plug(p *port) error {
	if err := checkCID(p.cid); err != nil {
		return err
	}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	old := *sw.routes.Load()
	switch {
	case sw.closed:
		return ErrClosed
	case old[p.cid] != nil:
		return fmt.Errorf("vswitch: CID %d is in use by %s; remove that first or choose another", p.cid, old[p.cid].owner)
	case len(old) >= MaxContexts:
		return fmt.Errorf("vswitch: %d contexts are joined, which is the limit", len(old))
	}
	routes := maps.Clone(old)
	routes[p.cid] = p
	sw.routes.Store(&routes)
	return nil
}

// unplug takes a port out of the routes, and ends what others had with it.
func (sw *Switch) unplug(p *port) {
	sw.mu.Lock()
	if old := *sw.routes.Load(); old[p.cid] == p {
		routes := maps.Clone(old)
		delete(routes, p.cid)
		sw.routes.Store(&routes)
	}
	sw.mu.Unlock()
	sw.peerGone(p.cid)
}

// peerGone resets all connections with a context.
func (sw *Switch) peerGone(cid uint32) {
	for _, p := range *sw.routes.Load() {
		if c, ok := p.owner.(*Context); ok {
			c.stack.PeerGone(cid)
		}
	}
}
