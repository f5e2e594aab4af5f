package vswitch

import (
	"fmt"
	"sync/atomic"

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
}

func (sw *Switch) newContext(cfg ContextConfig) *Context {
	c := new(Context)
	c.port = &port{sw: sw, cid: cfg.CID, owner: c}
	c.stack = stack.New(stack.Config{CID: cfg.CID, Out: c.port, Unprivileged: cfg.Unprivileged})
	c.inbox.to = c.stack
	c.port.to = &c.inbox
	return c
}

// AddContext joins a further context to the switch. Close takes it out.
func (sw *Switch) AddContext(cfg ContextConfig) (*Context, error) {
	c := sw.newContext(cfg)
	if err := sw.plug(c.port); err != nil {
		return nil, err
	}
	return c, nil
}

// Socket creates a socket of the context.
func (c *Context) Socket(t vsock.Type) (vsock.Socket, error) { return c.stack.Socket(t) }

// LocalCID is the context's CID.
func (c *Context) LocalCID() (uint32, error) { return c.port.cid, nil }

// Counters counts the context's packets that were not passed on.
func (c *Context) Counters() Counters { return c.port.counters() }

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

func (c *Context) String() string { return fmt.Sprintf("context %d", c.port.cid) }
