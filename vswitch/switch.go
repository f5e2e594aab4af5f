// Package vswitch is a virtio-vsock switch in user space: it joins everything
// that has a CID, without a kernel module and without root.
//
// A [Switch] has the host's context, CID 2, and any number of others: guests, which
// are virtual machines of QEMU, User Mode Linux and others that plug in over
// vhost-user; processes, which attach the same way; and contexts in this program.
//
//	sw := vswitch.New(vswitch.Config{})
//	defer sw.Close()
//	guest, err := sw.AddGuest(vswitch.GuestConfig{CID: 3, Socket: "/run/vm3.sock"})
//	ln, err := vsock.Listen(ctx, sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
//
// All of them reach the host and are reached from it, and one another if they have
// a group in common; rules of the [Policy] say otherwise. A connection to a CID that
// is not there, or that may not be reached, is refused at once.
package vswitch

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"vsockets.dev/vsock"
)

// MaxContexts is the most contexts that a switch joins.
const MaxContexts = 4096

// ErrClosed is what a closed switch says.
var ErrClosed = errors.New("vswitch: the switch is closed")

// Config is what a Switch can be told. The zero value is ready to use.
type Config struct {
	// Log gets what happens to guests: sessions begun, ended and broken off.
	// Default: nothing is logged.
	Log *slog.Logger

	// Policy says who may connect to whom. Default: guests and the host, and the
	// members of a group.
	Policy Policy
}

// Switch joins contexts. Use New to make one.
type Switch struct {
	log    *slog.Logger
	host   *Context
	policy atomic.Pointer[Policy]

	// routes is replaced, never changed, so that a packet finds its way without a lock.
	routes atomic.Pointer[map[uint32]*port]
	taps   atomic.Pointer[taps] // replaced, never changed; nil: none

	mu     sync.Mutex // changes of routes, policy and groups
	pools  []*Attach  // replaced, never changed
	closed bool
}

// New makes a switch with the host's context.
func New(c Config) *Switch {
	sw := &Switch{log: c.Log}
	if sw.log == nil {
		sw.log = slog.New(slog.DiscardHandler)
	}
	sw.policy.Store(c.Policy.clone())
	sw.host = sw.newHost()
	sw.routes.Store(&map[uint32]*port{vsock.CIDHost: sw.host.port})
	return sw
}

// Host is the host's context, CID 2.
func (sw *Switch) Host() *Context { return sw.host }

// SetPolicy changes who may connect to whom.
func (sw *Switch) SetPolicy(p Policy) {
	sw.mu.Lock()
	sw.policy.Store(p.clone())
	sw.forgetWays()
	sw.mu.Unlock()
	sw.cut()
}

// cut resets the connections that the policy does not allow any more.
func (sw *Switch) cut() {
	for _, p := range *sw.routes.Load() {
		p.cut()
	}
}

// Policy tells who may connect to whom.
func (sw *Switch) Policy() Policy { return *sw.policy.Load().clone() }

func (p *Policy) clone() *Policy { return &Policy{Rules: slices.Clone(p.Rules)} }

// Close removes all guests and contexts. Their connections are reset.
func (sw *Switch) Close() error {
	sw.mu.Lock()
	if sw.closed {
		sw.mu.Unlock()
		return ErrClosed
	}
	sw.closed = true
	ports := *sw.routes.Load()
	pools := sw.pools
	sw.mu.Unlock()

	var errs []error
	for _, a := range pools {
		errs = append(errs, a.Close())
	}
	for _, p := range ports {
		if p.owner != sw.host {
			errs = append(errs, p.owner.Close())
		}
	}
	errs = append(errs, sw.host.Close())
	sw.endTaps()
	return errors.Join(errs...)
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
	sw.mu.Lock()
	defer sw.mu.Unlock()
	cid, old := p.cid.Load(), *sw.routes.Load()
	if err := sw.canHave(cid); err != nil {
		return err
	}
	switch {
	case sw.closed:
		return ErrClosed
	case len(old) >= MaxContexts:
		return fmt.Errorf("vswitch: %d contexts are joined, which is the limit", len(old))
	}
	routes := maps.Clone(old)
	routes[cid] = p
	sw.routes.Store(&routes)
	return nil
}

// unplug takes a port out of the routes, and ends what others had with it.
func (sw *Switch) unplug(p *port) {
	sw.mu.Lock()
	cid := p.cid.Load()
	if old := *sw.routes.Load(); old[cid] == p {
		routes := maps.Clone(old)
		delete(routes, cid)
		sw.routes.Store(&routes)
		for _, q := range routes {
			q.forgetWay(cid)
		}
	}
	sw.mu.Unlock()
	p.leave()
	for _, q := range *sw.routes.Load() {
		q.forgetBacklogTo(p)
		q.forgetTally(p)
	}
	if b := p.bucket.Load(); b != nil {
		b.stop()
	}
}

// move gives a port another CID. Its connections end.
func (sw *Switch) move(p *port, cid uint32) error {
	sw.mu.Lock()
	if err := sw.canHave(cid); err != nil {
		sw.mu.Unlock()
		return err
	}
	old := p.cid.Load()
	routes := maps.Clone(*sw.routes.Load())
	if routes[old] != p {
		sw.mu.Unlock()
		return ErrClosed
	}
	delete(routes, old)
	routes[cid] = p
	sw.routes.Store(&routes)
	p.grace.renamed(old)
	p.cid.Store(cid)
	sw.forgetWays()
	sw.mu.Unlock()
	p.leaveAs(old)
	return nil
}

// canHave says why a context cannot have a CID.
func (sw *Switch) canHave(cid uint32) error {
	if err := checkCID(cid); err != nil {
		return err
	}
	if p := (*sw.routes.Load())[cid]; p != nil {
		return fmt.Errorf("vswitch: CID %d is in use by %s; remove that first or choose another", cid, p.owner)
	}
	return nil
}

// forgetWays needs mu. It has all ways be found anew.
func (sw *Switch) forgetWays() {
	for _, p := range *sw.routes.Load() {
		p.forgetWays()
	}
}
