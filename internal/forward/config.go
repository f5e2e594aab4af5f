package forward

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"vsockets.dev/vsock"
)

// DefaultDialTimeout is how long a forward waits for To to answer: long enough for
// a packet that was lost, short enough for somebody who waits.
const DefaultDialTimeout = 5 * time.Second

// DefaultMaxConns is how many connections a forward has at once. Each takes two
// descriptors, two buffers of 64 KiB while it waits for data, and up to four
// descriptors more where the kernel copies.
const DefaultMaxConns = 256

// Config is what a forward can be told. Spec is needed, the rest has defaults.
type Config struct {
	// Spec is from where to where.
	Spec Spec

	// Listener is what From listens with, where somebody else has made it, as
	// systemd's socket activation does. The forward closes it. Default: one is made.
	Listener net.Listener

	// Stack gives the stack for endpoints of the kinds Vsock, Kernel and Host.
	// Default: the kernel's for the first two, and an error for the third.
	Stack func(Kind) (vsock.Stack, error)

	// DialTimeout is how long To may take to answer. Default: DefaultDialTimeout.
	DialTimeout time.Duration

	// MaxConns is how many connections there are at once; further ones are reset.
	// Default: DefaultMaxConns.
	MaxConns int

	// IdleTimeout ends a connection in which nothing moves either way for so long.
	// Default: 0, never.
	IdleTimeout time.Duration

	// Allow is whom connections are taken from; others are reset. Default: all.
	Allow []Source

	// Log gets what happens to the forward. Single connections are logged at the
	// level Debug, since clients decide how many there are. Default: nothing is
	// logged.
	Log *slog.Logger

	// Stdin and Stdout are what Stdio endpoints join, and Stderr gets what
	// commands write to standard error. Default: those of this program.
	Stdin  io.Reader
	Stdout io.WriteCloser
	Stderr io.Writer
}

// complete checks the configuration and fills the defaults in.
func (c *Config) complete() error {
	if err := c.Spec.check(); err != nil {
		return err
	}
	if err := checkAllow(c.Spec.From, c.Allow); err != nil {
		return err
	}
	switch {
	case c.DialTimeout < 0:
		return fmt.Errorf("forward: %s: dial timeout %v is negative; use 0 for the default of %v", c.Spec, c.DialTimeout, DefaultDialTimeout)
	case c.MaxConns < 0:
		return fmt.Errorf("forward: %s: a limit of %d connections is negative; use 0 for the default of %d", c.Spec, c.MaxConns, DefaultMaxConns)
	case c.IdleTimeout < 0:
		return fmt.Errorf("forward: %s: idle timeout %v is negative; use 0 for none", c.Spec, c.IdleTimeout)
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Stdin == nil {
		c.Stdin = os.Stdin
	}
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	return nil
}
