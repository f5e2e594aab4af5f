package soak

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/switchd"
	"vsockets.dev/internal/testguest"
)

// kind is what a node is.
type kind string

const (
	kindGuest    kind = "guest"    // a real one, with its kernel's sockets
	kindAttached kind = "attached" // a process with a context of its own
	kindHybrid   kind = "hybrid"   // a process at a guest's Unix socket
)

const (
	group         = "soak"           // that all are in
	firstCID      = 3                // of the guests
	attachedCount = 2                // processes
	receivePort   = 7001             // where bytes are verified; the others follow it
	hybridPorts   = 7100             // of hybrid clients, each on CID 2 for its guest only
	bootLimit     = 2 * time.Minute  // of a start, on a machine that is busy
	guestMore     = 10 * time.Minute // that a guest may live longer than the soak
)

// services are what each node serves, on the ports that begin with its own first.
var services = []string{guestpeer.ServiceReceive, guestpeer.ServiceEcho, guestpeer.ServiceDrop}

// Where a service is, from the first port on. Nobody serves the last.
const (
	portReceive = iota
	portEcho
	portDrop
	portDeaf
)

// node is one that connects and is connected to. It may end and come back, as another
// incarnation of itself.
type node struct {
	name  string
	kind  kind
	guest *node // of a hybrid client
	port  uint32

	// start begins an incarnation, and faults are what can happen to it.
	start  func(context.Context) (guestpeer.Caller, error)
	leave  func() error // its end in good order
	faults []faultKind

	mu       sync.Mutex
	caller   guestpeer.Caller
	cid      uint32
	up       bool
	happened []faultKind // all faults that there were
}

// view is a node at a moment.
type view struct {
	*node
	caller guestpeer.Caller
	cid    uint32
	up     bool
	before int // faults until then
}

func (n *node) view() view {
	n.mu.Lock()
	defer n.mu.Unlock()
	return view{n, n.caller, n.cid, n.up, len(n.happened)}
}

// since gives the faults since that moment.
func (v view) since() []faultKind {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.happened[v.before:]
}

// befall records a fault, before it happens.
func (n *node) befall(f faultKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.happened = append(n.happened, f)
	n.up = n.up && !f.ends
}

// begin starts an incarnation, and what it serves.
func (n *node) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	c, err := n.start(ctx)
	if err != nil {
		return fmt.Errorf("soak: start %s: %w", n.name, err)
	}
	for i, service := range services {
		listen := guestpeer.Listen{Port: n.port + uint32(i), Service: service}
		if err := c.Call(ctx, guestpeer.CmdListen, listen, nil); err != nil {
			return fmt.Errorf("soak: %s: listen on port %d: %w", n.name, listen.Port, err)
		}
	}
	cid, err := guestpeer.NewRemote(ctx, c).LocalCID()
	if err != nil {
		return fmt.Errorf("soak: %s: its CID: %w", n.name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.caller, n.cid, n.up = c, cid, true
	return nil
}

// guestNode is a guest of the switch.
func (s *soak) guestNode(cid uint32, m testguest.Machine) (*node, switchd.GuestSpec) {
	spec := switchd.GuestSpec{
		CID: cid, Socket: filepath.Join(s.Dir, fmt.Sprintf("g%d", cid)), Hybrid: filepath.Join(s.Dir, fmt.Sprintf("h%d", cid)),
		Groups: []string{group},
	}
	var runs *testguest.Guest
	n := &node{name: fmt.Sprintf("guest %d (%v)", cid, m), kind: kindGuest, port: receivePort}
	n.start = func(context.Context) (guestpeer.Caller, error) { // of which the guest outlives the context
		var err error
		runs, err = testguest.Boot(s.ctx, testguest.Config{
			Machine: m, Init: s.Init, Device: spec.Socket, TimeLimit: s.Duration + guestMore,
		})
		return runs, err
	}
	n.leave = func() error {
		if runs == nil {
			return nil
		}
		return runs.Close()
	}
	n.faults = []faultKind{
		{"guest killed", true, func(context.Context) error { runs.Kill(); return nil }},
		{"guest powered off", true, func(context.Context) error { return runs.Close() }},
		{"guest taken out and joined again", true, func(ctx context.Context) error {
			if err := s.sw.RemoveGuest(ctx, cid); err != nil {
				return err
			}
			runs.Kill()
			return s.sw.add(ctx, spec)
		}},
	}
	return n, spec
}

func (s *soak) attachedNode(name string) *node {
	n := &node{name: name, kind: kindAttached, port: receivePort}
	s.process(n, stackAttach+" "+s.attach)
	return n
}

func (s *soak) hybridNode(guest *node, g switchd.GuestSpec) *node {
	n := &node{
		name: fmt.Sprintf("hybrid client of %d", g.CID), kind: kindHybrid, guest: guest,
		port: hybridPorts + g.CID*uint32(portDeaf+1),
	}
	s.process(n, fmt.Sprintf("%s %s %d", stackHybrid, g.Hybrid, g.CID))
	return n
}

// process has a node be a process with a stack.
func (s *soak) process(n *node, stack string) {
	var c *child
	n.start = func(context.Context) (guestpeer.Caller, error) {
		var err error
		if c, err = s.spawn(stack); err != nil {
			return nil, err
		}
		return c.client, nil
	}
	n.leave = func() error {
		if c == nil {
			return nil
		}
		return c.leave()
	}
	n.faults = []faultKind{
		{"process killed", true, func(context.Context) error { c.kill(); return nil }},
		{"process ended", true, func(context.Context) error { return c.leave() }},
		{"process stopped for a moment", false, func(ctx context.Context) error { return c.stall(ctx) }},
	}
}
