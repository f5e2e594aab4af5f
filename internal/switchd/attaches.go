package switchd

import (
	"errors"
	"fmt"
	"slices"

	"vsockets.dev/vswitch"
)

// attach is a socket for processes.
type attach struct {
	*vswitch.Attach
	spec vswitch.AttachConfig
}

// sameAttach compares what the configuration says. Users that are nil are not users
// of whom there are none.
func sameAttach(a, b vswitch.AttachConfig) bool {
	return a.Socket == b.Socket && a.First == b.First && a.Last == b.Last && a.PerUser == b.PerUser &&
		(a.Users == nil) == (b.Users == nil) && slices.Equal(a.Users, b.Users) &&
		slices.Equal(a.Groups, b.Groups) && a.Limits == b.Limits
}

// dropAttaches closes those that are not there any more, or not so: the processes
// that joined by them are told the rest of what they are when they join again.
func (d *Daemon) dropAttaches(want []vswitch.AttachConfig) error {
	var errs []error
	for _, a := range slices.Clone(d.attaches) {
		if slices.ContainsFunc(want, func(w vswitch.AttachConfig) bool { return sameAttach(a.spec, w) }) {
			continue
		}
		d.attaches = slices.DeleteFunc(d.attaches, func(o *attach) bool { return o == a })
		d.inherited.release(a.spec.Socket)
		if err := a.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing %s: %w", a, err))
		}
		d.log.Info("attach socket closed", "socket", a.spec.Socket)
	}
	return errors.Join(errs...)
}

func (d *Daemon) addAttaches(want []vswitch.AttachConfig) error {
	var errs []error
	for _, w := range want {
		if !slices.ContainsFunc(d.attaches, func(a *attach) bool { return a.spec.Socket == w.Socket }) {
			errs = append(errs, d.addAttach(w))
		}
	}
	return errors.Join(errs...)
}

func (d *Daemon) addAttach(w vswitch.AttachConfig) error {
	l, err := d.inherited.take(nameAttach, w.Socket)
	if err != nil {
		return fmt.Errorf("attach %s: %w", w.Socket, err)
	}
	c := w
	c.Listener = l
	a, err := d.sw.AddAttach(c)
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		return d.explain(err, w.Socket)
	}
	d.attaches = append(d.attaches, &attach{a, w})
	d.log.Info("attach socket opened", "socket", w.Socket, "first", w.First, "last", w.Last, "groups", w.Groups)
	return nil
}
