package switchd

import (
	"errors"
	"fmt"
	"slices"

	"vsockets.dev/vswitch"
)

// guest is a guest that is joined. Its socket is what it is known by: the CID may
// change.
type guest struct {
	*vswitch.Guest
	spec       GuestSpec // as it was told last
	configured bool      // by the configuration, not by the control socket
}

// addGuest joins a guest. It needs mu, as do all below.
func (d *Daemon) addGuest(s GuestSpec, configured bool) error {
	l, err := d.inherited.take(fmt.Sprintf("guest-%d", s.CID), s.Socket)
	if err != nil {
		return fmt.Errorf("guest %d: %w", s.CID, err)
	}
	g, err := d.sw.AddGuest(s.config(l))
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		return d.explain(err, s.Socket, s.Hybrid)
	}
	d.guests = append(d.guests, &guest{g, s, configured})
	d.log.Info("guest added", "cid", s.CID, "socket", s.Socket, "groups", s.Groups)
	return nil
}

func (d *Daemon) removeGuest(g *guest) error {
	d.guests = slices.DeleteFunc(d.guests, func(o *guest) bool { return o == g })
	cid := g.CID()
	d.inherited.release(g.spec.Socket)
	if err := g.Close(); err != nil {
		return fmt.Errorf("removing guest %d: %w", cid, err)
	}
	d.log.Info("guest removed", "cid", cid, "socket", g.spec.Socket)
	return nil
}

func (d *Daemon) guestAt(socket string) *guest {
	for _, g := range d.guests {
		if g.spec.Socket == socket {
			return g
		}
	}
	return nil
}

// dropGuests removes those that the configuration names no more, or names so that
// they have to be made anew.
func (d *Daemon) dropGuests(want []GuestSpec) error {
	var errs []error
	for _, g := range slices.Clone(d.guests) {
		i := slices.IndexFunc(want, func(s GuestSpec) bool { return s.Socket == g.spec.Socket })
		if i < 0 && !g.configured || i >= 0 && want[i].Hybrid == g.spec.Hybrid {
			continue
		}
		errs = append(errs, d.removeGuest(g))
	}
	return errors.Join(errs...)
}

// changeGuests gives those that are there what is different.
func (d *Daemon) changeGuests(want []GuestSpec) error {
	var errs []error
	moves := make(map[*guest]uint32)
	for _, s := range want {
		g := d.guestAt(s.Socket)
		if g == nil {
			continue
		}
		g.configured = true
		errs = append(errs, d.changeGuest(g, s.Groups, s.Limits))
		if s.CID != g.spec.CID {
			moves[g] = s.CID
		}
	}
	return errors.Join(append(errs, d.moveAll(moves))...)
}

// changeGuest changes all but the CID.
func (d *Daemon) changeGuest(g *guest, groups []string, l vswitch.Limits) error {
	if l != g.spec.Limits {
		if err := g.SetLimits(l); err != nil {
			return fmt.Errorf("limits of guest %d: %w", g.CID(), err)
		}
		g.spec.Limits = l
		d.log.Info("limits changed", "cid", g.CID(), "limits", l)
	}
	if !slices.Equal(groups, g.spec.Groups) {
		if err := g.SetGroups(groups); err != nil {
			return fmt.Errorf("groups of guest %d: %w", g.CID(), err)
		}
		g.spec.Groups = groups
		d.log.Info("groups changed", "cid", g.CID(), "groups", groups)
	}
	return nil
}

// moveGuest gives a guest another CID, now or when it boots again.
func (d *Daemon) moveGuest(g *guest, cid uint32) error {
	old := g.CID()
	later, err := g.SetCID(cid)
	if err != nil {
		return fmt.Errorf("new CID of guest %d: %w", old, err)
	}
	g.spec.CID = cid
	d.log.Info("CID changed", "from", old, "to", cid, "with_next_boot", later)
	return nil
}

// moveAll gives guests other CIDs, each when the one it gets is free. Where they
// trade them in a circle, one is removed, for addGuests to make it anew.
func (d *Daemon) moveAll(moves map[*guest]uint32) error {
	for {
		errs := make(map[*guest]error)
		moved := false
		for g, cid := range moves {
			if err := d.moveGuest(g, cid); err != nil {
				errs[g] = err
				continue
			}
			moved = true
			delete(moves, g)
		}
		if len(moves) == 0 {
			return nil
		}
		if moved {
			continue
		}
		stuck := d.inTheWay(moves)
		if stuck == nil {
			var all []error
			for _, err := range errs {
				all = append(all, err)
			}
			return errors.Join(all...)
		}
		delete(moves, stuck)
		if err := d.removeGuest(stuck); err != nil {
			return err
		}
	}
}

// inTheWay finds a guest that is to move and has the CID that another is to have.
func (d *Daemon) inTheWay(moves map[*guest]uint32) *guest {
	for g := range moves {
		for _, cid := range moves {
			if g.CID() == cid {
				return g
			}
		}
	}
	return nil
}

func (d *Daemon) addGuests(want []GuestSpec) error {
	var errs []error
	for _, s := range want {
		if d.guestAt(s.Socket) == nil {
			errs = append(errs, d.addGuest(s, true))
		}
	}
	return errors.Join(errs...)
}
