package switchd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vswitch"
)

// States of a Context.
const (
	StateLocal     = "local"     // in the switch's own process
	StateConnected = "connected" // its virtual machine or process is there
	StateWaiting   = "waiting"   // it is not
)

// Context tells of a context in the control API.
type Context struct {
	vswitch.Info
	State      string `json:"state"`
	Configured bool   `json:"configured,omitempty"` // a guest of the configuration

	// Confinement is what the switch's process has given up. Of the host's context.
	Confinement *Confinement `json:"confinement,omitempty"`
}

// GuestPatch is what changes of a guest. What is nil stays; of the limits, those
// change that are named.
type GuestPatch struct {
	CID    *uint32         `json:"cid,omitempty"`
	Groups *[]string       `json:"groups,omitempty"`
	Limits json.RawMessage `json:"limits,omitempty"`
}

// Policy is the policy in the control API.
type Policy struct {
	Rules []vswitch.Rule `json:"rules"`
}

// Forward tells of a forward in the control API.
type Forward struct {
	Forward    forward.Spec `json:"forward"`
	Configured bool         `json:"configured"`
	Accepted   uint64       `json:"accepted"`
	Refused    uint64       `json:"refused"`
	DialFailed uint64       `json:"dial_failed"`
	Active     int          `json:"active"`
	Sent       uint64       `json:"sent"`     // bytes
	Received   uint64       `json:"received"` // bytes
}

// Version tells which switch it is.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// ThisVersion is that of this program.
func ThisVersion() Version {
	v := Version{Version: "unknown", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	return v
}

// change makes a change, unless the switch ends.
func (d *Daemon) change(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	return f()
}

// Contexts tells of all contexts, by CID.
func (d *Daemon) Contexts() []Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	byCID := make(map[uint32]*guest, len(d.guests))
	for _, g := range d.guests {
		byCID[g.CID()] = g
	}
	infos := d.sw.Contexts()
	all := make([]Context, len(infos))
	for i, info := range infos {
		all[i] = Context{Info: info, State: state(info)}
		if info.Kind == vswitch.KindHost {
			all[i].Confinement = d.confined
		}
		if g := byCID[info.CID]; g != nil && info.Kind == vswitch.KindGuest {
			all[i].Configured = g.configured
		}
	}
	return all
}

func state(i vswitch.Info) string {
	switch {
	case i.Kind == vswitch.KindHost, i.Kind == vswitch.KindContext:
		return StateLocal
	case i.Since.IsZero():
		return StateWaiting
	}
	return StateConnected
}

// AddGuest joins a guest, until RemoveGuest or the end of the switch.
func (d *Daemon) AddGuest(s GuestSpec) error {
	s.Socket, s.Hybrid = clean(s.Socket), clean(s.Hybrid)
	if err := s.check(); err != nil {
		return invalid(err)
	}
	return d.change(func() error {
		for _, p := range []string{s.Socket, s.Hybrid} {
			if user := d.userOf(p); user != "" {
				return because(ErrInUse, "guest %d: the path %s is that of %s; choose another", s.CID, p, user)
			}
		}
		if err := d.free(s.CID); err != nil {
			return err
		}
		return d.addGuest(s, false)
	})
}

// userOf tells what has a path. It needs mu.
func (d *Daemon) userOf(path string) string {
	if path == "" {
		return ""
	}
	for _, g := range d.guests {
		if g.spec.Socket == path || g.spec.Hybrid == path {
			return fmt.Sprintf("guest %d", g.CID())
		}
	}
	for _, a := range d.attaches {
		if a.spec.Socket == path {
			return a.String()
		}
	}
	for _, f := range d.forwards {
		if from := f.Spec().From; from.Kind == forward.Unix && clean(from.Address) == path {
			return "forward " + f.Spec().String()
		}
	}
	if d.control != nil && d.control.path == path {
		return "the control socket"
	}
	return ""
}

// free says who has a CID. It needs mu.
func (d *Daemon) free(cid uint32) error {
	for _, i := range d.sw.Contexts() {
		if i.CID == cid {
			return because(ErrInUse, "CID %d is that of a context (%s %s); remove that first or choose another", cid, i.Kind, i.Socket)
		}
	}
	return nil
}

// guest finds a guest by its CID. It needs mu.
func (d *Daemon) guest(cid uint32) (*guest, error) {
	for _, g := range d.guests {
		if g.CID() == cid {
			return g, nil
		}
	}
	return nil, because(ErrNotFound, "there is no guest with CID %d; vsock ps shows those that there are", cid)
}

// ChangeGuest changes a guest: all that the patch says, or nothing.
func (d *Daemon) ChangeGuest(cid uint32, p GuestPatch) error {
	return d.change(func() error {
		g, err := d.guest(cid)
		if err != nil {
			return err
		}
		s, err := p.applied(g.spec)
		if err != nil {
			return invalid(err)
		}
		if p.CID != nil && s.CID != cid {
			if err := d.free(s.CID); err != nil {
				return err
			}
		}
		// The CID first: nothing of the rest can fail, since it has been checked.
		if p.CID != nil {
			if err := d.moveGuest(g, s.CID); err != nil {
				return err
			}
		}
		return d.changeGuest(g, s.Groups, s.Limits)
	})
}

// SetLimits has the patch change limits, each written as NAME=AMOUNT.
func (p *GuestPatch) SetLimits(items []string) error {
	changed := make(map[string]Size)
	for _, item := range items {
		name, value, _ := strings.Cut(item, "=")
		var l Limits
		if err := l.Set(name, value); err != nil {
			return err
		}
		changed[strings.ReplaceAll(name, "-", "_")] = *l.named(name) // as in vswitch.Limits
	}
	b, err := json.Marshal(changed)
	p.Limits = b
	return err
}

// applied is what a guest is after the change.
func (p GuestPatch) applied(s GuestSpec) (GuestSpec, error) {
	if p.CID != nil {
		s.CID = *p.CID
	}
	if p.Groups != nil {
		s.Groups = *p.Groups
	}
	if p.Limits != nil {
		if err := decodeStrict(bytes.NewReader(p.Limits), &s.Limits); err != nil {
			return s, fmt.Errorf("limits: %w", err)
		}
	}
	return s, s.check()
}

// RemoveGuest takes a guest out. If it is one of the configuration, the next Reload
// brings it back.
func (d *Daemon) RemoveGuest(cid uint32) error {
	return d.change(func() error {
		g, err := d.guest(cid)
		if err != nil {
			return err
		}
		return d.removeGuest(g)
	})
}

// Policy tells who may connect to whom.
func (d *Daemon) Policy() Policy {
	rules := d.sw.Policy().Rules
	if rules == nil {
		rules = []vswitch.Rule{} // a list in JSON too
	}
	return Policy{Rules: rules}
}

// SetPolicy replaces the policy, until the next Reload.
func (d *Daemon) SetPolicy(p Policy) error {
	return d.change(func() error {
		d.sw.SetPolicy(vswitch.Policy{Rules: p.Rules})
		d.log.Info("policy changed", "rules", len(p.Rules))
		return nil
	})
}

// Forwards tells of all forwards.
func (d *Daemon) Forwards() []Forward {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Forward, len(d.forwards))
	for i, f := range d.forwards {
		c := f.Counters()
		all[i] = Forward{
			Forward: f.Spec(), Configured: f.configured,
			Accepted: c.Accepted, Refused: c.Refused, DialFailed: c.DialFailed, Active: c.Active,
			Sent: c.Sent, Received: c.Received,
		}
	}
	return all
}

// AddForward adds a forward, until RemoveForward or the end of the switch. Commands
// are only taken from the configuration: a control socket that systemd has made may
// be open to more users than this one.
func (d *Daemon) AddForward(s forward.Spec) error {
	if err := checkForward(s); err != nil {
		return invalid(err)
	}
	if s.To.Kind == forward.Exec {
		return because(ErrInvalid, "forward %s: a command can only be given in the configuration", s)
	}
	return d.change(func() error {
		if f := d.forwardFrom(s.From); f != nil {
			return because(ErrInUse, "a forward from %s is there: %s; remove that first", s.From, f.Spec())
		}
		if s.From.Kind == forward.Unix {
			if user := d.userOf(clean(s.From.Address)); user != "" {
				return because(ErrInUse, "forward %s: the path is that of %s; choose another", s, user)
			}
		}
		return d.addForward(s, false)
	})
}

// RemoveForward ends a forward and its connections. If it is one of the
// configuration, the next Reload brings it back.
func (d *Daemon) RemoveForward(from forward.Endpoint) error {
	return d.change(func() error {
		f := d.forwardFrom(from)
		if f == nil {
			return because(ErrNotFound, "there is no forward from %s", from)
		}
		return d.removeForward(f)
	})
}
