package switchd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"

	"vsockets.dev/internal/forward"
)

// Options are what a Daemon can be told beside its configuration.
type Options struct {
	// Log gets what happens. Default: nothing is logged.
	Log *slog.Logger

	// Inherited are sockets that someone else made. Default: none.
	Inherited *Inherited
}

// Daemon is a switch that runs, with all that its configuration names.
type Daemon struct {
	log       *slog.Logger
	inherited *Inherited
	sw        *vswitch.Switch

	mu       sync.Mutex // one change at a time
	closed   bool
	guests   []*guest
	attaches []*attach
	forwards []*running
	control  *control     // nil: there is none
	confined *Confinement // nil: nobody called Confine
}

// Start makes a switch. If anything of the configuration fails, all that failed is
// named and nothing stays.
func Start(c Config, o Options) (*Daemon, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	d := &Daemon{log: o.Log, inherited: o.Inherited}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.sw = vswitch.New(vswitch.Config{Log: d.log})
	d.mu.Lock()
	err := d.apply(c)
	d.mu.Unlock()
	if err != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.Close(over)
		return nil, err
	}
	for _, name := range d.inherited.unused() {
		d.log.Warn("a socket that was handed over is not used; name it guest-CID, attach or control, or configure its path", "socket", name)
	}
	return d, nil
}

// Reload applies what is different in another configuration, and touches nothing
// else. One that is not valid changes nothing: ErrInvalid. Where an item fails, the
// others are applied, and the next Reload tries it again.
//
// What the control socket has added stays. What it has changed or removed of the
// configuration becomes again as that says.
func (d *Daemon) Reload(c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	return d.apply(c)
}

// apply needs mu. Whatever takes rights away comes before what gives them.
func (d *Daemon) apply(c Config) error {
	d.changedConfinement(c)
	attaches := make([]vswitch.AttachConfig, len(c.Attach))
	for i, a := range c.Attach {
		attaches[i] = a.spec()
	}
	guests := make([]GuestSpec, len(c.Guests))
	for i, g := range c.Guests {
		guests[i] = g.spec()
	}
	errs := []error{
		d.dropForwards(c.Forwards),
		d.dropAttaches(attaches),
		d.dropGuests(guests),
	}
	d.sw.SetPolicy(vswitch.Policy{Rules: c.Rules})
	errs = append(errs,
		d.changeGuests(guests),
		d.addGuests(guests),
		d.addAttaches(attaches),
		d.addForwards(c.Forwards),
		d.setControl(clean(c.Control)),
	)
	return errors.Join(errs...)
}

// Close ends the switch. It takes no new connections for its forwards, and waits for
// those that they have until the context ends. Then everything ends.
func (d *Daemon) Close(ctx context.Context) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.closed = true // so that nobody changes the lists any more
	d.mu.Unlock()

	if d.control != nil {
		d.control.close()
	}
	var drains sync.WaitGroup
	for _, f := range d.forwards {
		drains.Go(func() {
			if err := f.Drain(ctx); err != nil {
				d.log.Info("connections are ended", "reason", err)
			}
			_ = f.Close()
		})
	}
	drains.Wait()
	return d.sw.Close() // closes guests and attach sockets
}

// Switch is the switch itself.
func (d *Daemon) Switch() *vswitch.Switch { return d.sw }

// stack gives forwards the stacks that they may use.
func (d *Daemon) stack(k forward.Kind) (vsock.Stack, error) {
	if k == forward.Kernel {
		return vsock.Kernel(), nil
	}
	return d.sw.Host(), nil
}

// Summary says in a few words what there is.
func (d *Daemon) Summary() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := fmt.Sprintf("%s, %s, %s", count(len(d.guests), "guest"), count(len(d.attaches), "attach socket"), count(len(d.forwards), "forward"))
	if d.control != nil {
		s += ", control at " + d.control.path
	}
	if k := d.bound(); k != nil && k.Landlock > 0 {
		s += ", confined"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
