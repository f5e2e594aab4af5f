package switchd

import (
	"context"
	"errors"
	"slices"

	"vsockets.dev/internal/forward"
)

// running is a forward that runs. Where it listens is what it is known by.
type running struct {
	*forward.Forwarder
	configured bool // by the configuration, not by the control socket
}

// dropForwards ends those that are not there any more, or lead elsewhere.
func (d *Daemon) dropForwards(want []forward.Spec) error {
	var errs []error
	for _, f := range slices.Clone(d.forwards) {
		i := slices.IndexFunc(want, func(s forward.Spec) bool { return s.From == f.Spec().From })
		if i < 0 && !f.configured || i >= 0 && want[i] == f.Spec() {
			continue
		}
		errs = append(errs, d.removeForward(f))
	}
	return errors.Join(errs...)
}

func (d *Daemon) removeForward(f *running) error {
	d.forwards = slices.DeleteFunc(d.forwards, func(o *running) bool { return o == f })
	d.log.Info("forward removed", "forward", f.Spec())
	return f.Close()
}

func (d *Daemon) forwardFrom(from forward.Endpoint) *running {
	for _, f := range d.forwards {
		if f.Spec().From == from {
			return f
		}
	}
	return nil
}

func (d *Daemon) addForwards(want []forward.Spec) error {
	var errs []error
	for _, s := range want {
		if f := d.forwardFrom(s.From); f != nil {
			f.configured = true
			continue
		}
		errs = append(errs, d.addForward(s, true))
	}
	return errors.Join(errs...)
}

func (d *Daemon) addForward(s forward.Spec, configured bool) error {
	if err := d.allows(s); err != nil {
		return err
	}
	f, err := forward.Start(context.Background(), forward.Config{Spec: s, Stack: d.stack, Log: d.log})
	if err != nil {
		if s.From.Kind == forward.Unix {
			err = d.explain(err, s.From.Address)
		}
		return err
	}
	d.forwards = append(d.forwards, &running{f, configured})
	d.log.Info("forward added", "forward", s)
	return nil
}
