package switchd

import (
	"errors"
	"fmt"
	"path/filepath"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vswitch"
)

// Reasons of errors, for errors.Is.
var (
	// ErrInvalid says that what was asked for makes no sense. Nothing was changed.
	ErrInvalid = errors.New("it is not valid")

	// ErrInUse says that somebody else has it: a CID, a path, a port.
	ErrInUse = errors.New("it is in use")

	// ErrNotFound says that there is no such guest, context or forward.
	ErrNotFound = errors.New("it is not there")

	// ErrConfined says that the switch gave up what it takes when it started.
	ErrConfined = errors.New("the switch is confined")

	// ErrClosed says that the switch is ending.
	ErrClosed = errors.New("the switch is ending")
)

// reason gives an error a reason, without adding to its text.
type reason struct {
	error
	is error
}

func (r reason) Unwrap() []error { return []error{r.error, r.is} }

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return reason{err, ErrInvalid}
}

func because(is error, format string, args ...any) error {
	return reason{fmt.Errorf(format, args...), is}
}

// Check says what is wrong with a configuration, all of it.
func (c Config) Check() error {
	var errs []error
	switch c.LogFormat {
	case "", LogText, LogJSON:
	default:
		errs = append(errs, fmt.Errorf("log-format %q is none; use %s or %s", c.LogFormat, LogText, LogJSON))
	}
	paths := make(map[string]string)
	path := func(what, p string) {
		if p == "" {
			return
		}
		p = filepath.Clean(p)
		if other := paths[p]; other != "" {
			errs = append(errs, fmt.Errorf("%s and %s have the same path %s; give each its own", other, what, p))
		}
		paths[p] = what
	}
	cids := make(map[uint32]bool)
	for _, g := range c.Guests {
		what := fmt.Sprintf("guest %d", g.CID)
		if cids[g.CID] {
			errs = append(errs, fmt.Errorf("%s is there twice; a CID is one guest's", what))
		}
		cids[g.CID] = true
		errs = append(errs, g.spec().check())
		path(what, g.Socket)
		path("hybrid of "+what, g.Hybrid)
	}
	for _, a := range c.Attach {
		errs = append(errs, a.check(c.Guests))
		path("attach", a.Socket)
	}
	froms := make(map[forward.Endpoint]bool)
	for _, f := range c.Forwards {
		errs = append(errs, checkForward(f))
		if froms[f.From] {
			errs = append(errs, fmt.Errorf("two forwards are from %s; leave one out", f.From))
		}
		froms[f.From] = true
		if f.From.Kind == forward.Unix {
			path("forward", f.From.Address)
		}
	}
	path("control", c.Control)
	return invalid(errors.Join(errs...))
}

// rehearse has a switch of its own say what is wrong with a context.
func rehearse(cid uint32, groups []string, l vswitch.Limits) error {
	sw := vswitch.New(vswitch.Config{})
	defer func() { _ = sw.Close() }()
	_, err := sw.AddContext(vswitch.ContextConfig{CID: cid, Groups: groups, Limits: l})
	return err
}

// check says what is wrong with a guest.
func (g GuestSpec) check() error {
	if err := rehearse(g.CID, g.Groups, g.Limits); err != nil {
		return fmt.Errorf("guest %d: %w", g.CID, err)
	}
	if g.Socket == "" {
		return fmt.Errorf("guest %d has no socket; say where the virtual machine monitor connects to", g.CID)
	}
	if g.Socket == g.Hybrid {
		return fmt.Errorf("guest %d: both sockets have the path %s; give each its own", g.CID, g.Socket)
	}
	return nil
}

// check says what is wrong with a socket for processes. Where a guest has a CID of
// its range, a process could have that when the guest is added.
func (a Attach) check(guests []Guest) error {
	s := a.spec()
	for _, cid := range []uint32{s.First, s.Last} {
		if err := rehearse(cid, s.Groups, s.Limits); err != nil {
			return fmt.Errorf("attach %s: %w", a.Socket, err)
		}
	}
	if a.Socket == "" {
		return errors.New("attach has no socket; say where processes connect to")
	}
	for _, g := range guests {
		if s.First <= g.CID && g.CID <= s.Last {
			return fmt.Errorf("attach %s: its CIDs from %d to %d are for processes, and guest %d has one of them; set cids, or give the guest another",
				a.Socket, s.First, s.Last, g.CID)
		}
	}
	return nil
}

// checkForward refuses those that need a terminal: a service has none.
func checkForward(f forward.Spec) error {
	switch {
	case f.From == f.To:
		return fmt.Errorf("forward %s leads to itself; change one end", f)
	case f.From.Kind == forward.Stdio, f.From.Kind == forward.Exec:
		return fmt.Errorf("forward %s: a switch listens at ports and paths; write one of host:, vsock:, tcp:, unix:, kernel: before the =", f)
	case f.To.Kind == forward.Stdio:
		return fmt.Errorf("forward %s: a switch has no standard input to give away; write another destination", f)
	}
	return nil
}
