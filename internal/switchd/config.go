package switchd

import (
	"fmt"
	"strconv"
	"strings"

	"vsockets.dev/internal/forward"
	"vsockets.dev/vswitch"
)

// Config is what a switch is told. The tags are the names in the file; the flags
// have the same.
type Config struct {
	// Guests are the virtual machines.
	Guests []Guest `toml:"guest"`

	// Attach are the sockets at which processes join.
	Attach []Attach `toml:"attach"`

	// Rules are the policy, the first that fits decides.
	Rules []vswitch.Rule `toml:"rules"`

	// Forwards lead from and to the ports of the host's context, and of guests.
	Forwards []forward.Spec `toml:"forwards"`

	// Control is the path of the control socket. Default: there is none.
	Control string `toml:"control"`

	// ConfineDirs are folders in which sockets may be opened while the switch runs,
	// beside those in which it has some when it starts, see Daemon.Confine.
	ConfineDirs []string `toml:"confine-dirs"`

	// NoConfine has the switch keep the rights that it does not need.
	NoConfine bool `toml:"no-confine"`

	// LogFormat is LogText or LogJSON. Default: LogText.
	LogFormat string `toml:"log-format"`

	// Verbose logs single connections too.
	Verbose bool `toml:"verbose"`
}

// The formats of the log.
const (
	LogText = "text"
	LogJSON = "json"
)

// Guest is a virtual machine in the configuration.
type Guest struct {
	CID    uint32   `toml:"cid"`
	Socket string   `toml:"socket"` // vhost-user
	Hybrid string   `toml:"hybrid"` // the Firecracker protocol's; default: none
	Groups []string `toml:"groups"`
	Limits
}

// Attach is a socket for processes in the configuration.
type Attach struct {
	Socket  string   `toml:"socket"`
	CIDs    CIDRange `toml:"cids"`     // default: vswitch's
	Users   []uint32 `toml:"users"`    // nil: this user and root
	PerUser Size     `toml:"per-user"` // default: vswitch's
	Groups  []string `toml:"groups"`
	Limits
}

// Limits are those of package vswitch, with amounts that may have a unit.
type Limits struct {
	Connections Size `toml:"connections"`
	HalfOpen    Size `toml:"half-open"`
	Buffered    Size `toml:"buffered"`
	BufAlloc    Size `toml:"buf-alloc"`
	PacketRate  Size `toml:"packet-rate"`
	ByteRate    Size `toml:"byte-rate"`
}

// limitNames are the names of the limits, in flags, in the file and in errors.
const limitNames = "connections, half-open, buffered, buf-alloc, packet-rate or byte-rate"

// named gives a limit by its name, nil if there is none of that name.
func (l *Limits) named(name string) *Size {
	switch name {
	case "connections":
		return &l.Connections
	case "half-open":
		return &l.HalfOpen
	case "buffered":
		return &l.Buffered
	case "buf-alloc":
		return &l.BufAlloc
	case "packet-rate":
		return &l.PacketRate
	case "byte-rate":
		return &l.ByteRate
	}
	return nil
}

// Set sets a limit by its name.
func (l *Limits) Set(name, value string) error {
	p := l.named(name)
	if p == nil {
		return fmt.Errorf("%q is no limit; use %s", name, limitNames)
	}
	v, err := ParseSize(value)
	if err != nil {
		return fmt.Errorf("limit %s: %w", name, err)
	}
	*p = v
	return nil
}

// SwitchLimits gives the limits as package vswitch has them.
func (l Limits) SwitchLimits() vswitch.Limits {
	return vswitch.Limits{
		Connections: int(l.Connections),
		HalfOpen:    int(l.HalfOpen),
		Buffered:    int(l.Buffered),
		BufAlloc:    int(l.BufAlloc),
		PacketRate:  int(l.PacketRate),
		ByteRate:    int(l.ByteRate),
	}
}

// CIDRange is a range of CIDs, as text FIRST-LAST. The zero value is none.
type CIDRange struct{ First, Last uint32 }

// UnmarshalText reads FIRST-LAST, or one CID.
func (r *CIDRange) UnmarshalText(text []byte) error {
	a, b, ranged := strings.Cut(string(text), "-")
	if !ranged {
		b = a
	}
	first, err := strconv.ParseUint(a, 10, 32)
	last, err2 := strconv.ParseUint(b, 10, 32)
	if err != nil || err2 != nil || first > last {
		return fmt.Errorf("%q is no range of CIDs; write FIRST-LAST, such as 1000-1999", text)
	}
	r.First, r.Last = uint32(first), uint32(last)
	return nil
}

// And adds what o says, as flags add to the file: lists are appended, and a single
// value of o holds if it is there.
func (c Config) And(o Config) Config {
	c.Guests = append(c.Guests[:len(c.Guests):len(c.Guests)], o.Guests...)
	c.Attach = append(c.Attach[:len(c.Attach):len(c.Attach)], o.Attach...)
	c.Rules = append(c.Rules[:len(c.Rules):len(c.Rules)], o.Rules...)
	c.Forwards = append(c.Forwards[:len(c.Forwards):len(c.Forwards)], o.Forwards...)
	c.ConfineDirs = append(c.ConfineDirs[:len(c.ConfineDirs):len(c.ConfineDirs)], o.ConfineDirs...)
	c.NoConfine = c.NoConfine || o.NoConfine
	if o.Control != "" {
		c.Control = o.Control
	}
	if o.LogFormat != "" {
		c.LogFormat = o.LogFormat
	}
	c.Verbose = c.Verbose || o.Verbose
	return c
}
