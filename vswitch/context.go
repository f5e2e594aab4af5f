package vswitch

import (
	"fmt"
	"sync/atomic"

	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/stack"
	"vsockets.dev/vsock"
)

// Context is a context of the switch that lives in this program: a stack of its
// own. It implements vsock.Stack.
type Context struct {
	stack  *stack.Stack
	inbox  inbox
	port   *port
	closed atomic.Bool
}

var _ vsock.Stack = (*Context)(nil)

// ContextConfig says what a context is.
type ContextConfig struct {
	// CID is the context's, from 3 on.
	CID uint32

	// Unprivileged forbids its sockets to bind ports below 1024, as a guest
	// forbids it to programs without privilege: EACCES.
	Unprivileged bool

	// Groups are those that the context is in, see Policy.
	Groups []string

	// Limits are what it may take of the switch.
	Limits Limits
}

func (sw *Switch) newContext(cfg ContextConfig, offered func(*stack.Offer) bool) (*Context, error) {
	c := new(Context)
	var err error
	if c.port, err = sw.newPort(cfg.CID, cfg.Groups, cfg.Limits); err != nil {
		return nil, err
	}
	c.port.owner = c
	c.stack = stack.New(stack.Config{
		CID: cfg.CID, Out: c.port, Unprivileged: cfg.Unprivileged,
		Poller: sw.poller, Unclaimed: offered, Breach: sw.breach,
	})
	c.inbox.to = c.stack
	c.port.to = &c.inbox
	c.port.gone = c.stack.PeerGone
	return c, nil
}

// poller gives where packets from a CID come in: its device, nil if it has none.
func (sw *Switch) poller(cid uint32) spin.Ring {
	p := (*sw.routes.Load())[cid]
	if p == nil {
		return nil
	}
	poller, _ := p.to.(spin.Ring)
	return poller
}

// newHost makes the host's context.
func (sw *Switch) newHost() *Context {
	c, err := sw.newContext(ContextConfig{CID: vsock.CIDHost, Limits: unlimited}, sw.offer)
	if err != nil {
		panic(err) // there is nothing in its configuration that could be wrong
	}
	return c
}

// AddContext joins a further context to the switch. Close takes it out.
func (sw *Switch) AddContext(cfg ContextConfig) (*Context, error) {
	c, err := sw.newContext(cfg, nil)
	if err != nil {
		return nil, err
	}
	if err := sw.plug(c.port); err != nil {
		return nil, err
	}
	return c, nil
}

// Socket creates a socket of the context.
func (c *Context) Socket(t vsock.Type) (vsock.Socket, error) { return c.stack.Socket(t) }

// LocalCID is the context's CID.
func (c *Context) LocalCID() (uint32, error) { return c.port.cid.Load(), nil }

// SetGroups changes the groups that the context is in.
func (c *Context) SetGroups(groups []string) error { return c.port.changeGroups(groups) }

// SetLimits changes what the context may take. What it has already it keeps.
func (c *Context) SetLimits(l Limits) error { return c.port.setLimits(l) }

// Counters counts the context's packets that were not passed on.
func (c *Context) Counters() Counters { return c.port.counters.read() }

// Close resets the context's connections, closes its listeners and takes it out
// of the switch. The host's context closes with the switch.
func (c *Context) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return fmt.Errorf("vswitch: %s is closed already", c)
	}
	err := c.stack.Close()
	c.inbox.end()
	c.port.sw.unplug(c.port)
	return err
}

func (c *Context) String() string { return fmt.Sprintf("context %d", c.port.cid.Load()) }

func (c *Context) info(i *Info) {
	i.Kind = KindContext
	if i.CID == vsock.CIDHost {
		i.Kind = KindHost
	}
}
