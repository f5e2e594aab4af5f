package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"vsockets.dev/internal/bench"
)

// Names of the transports that others are held against.
const (
	baseName  = "unix"
	limitName = "limit"
)

// Config says what to compare.
type Config struct {
	// Transports are the names of those to compare, beside all Devices, which may be named
	// too. Default: all.
	Transports []string

	// Metrics are the names of what to measure, or how they begin. Default: all.
	Metrics []string

	// Devices are further vhost-user vsock back-ends.
	Devices []Device

	// Rounds is how often each measurement is made, and Time is how long one takes.
	Rounds int
	Time   time.Duration

	// Child makes the command of a process that calls ServeEnd.
	Child childFunc

	// Progress is told what is done next, if it is there.
	Progress func(done, total int, what string)
}

// Device is a vhost-user vsock back-end that runs already.
type Device struct {
	Name   string
	Socket string // of vhost-user
	UDS    string // where its host side is: a guest's connection to port N goes to UDS_N
}

// ParseDevice reads NAME=SOCKET,uds=PATH.
func ParseDevice(s string) (Device, error) {
	name, rest, ok1 := strings.Cut(s, "=")
	socket, uds, ok2 := strings.Cut(rest, ",uds=")
	if !ok1 || !ok2 || name == "" || socket == "" || uds == "" {
		return Device{}, fmt.Errorf("compare: device %q is not NAME=SOCKET,uds=PATH", s)
	}
	return Device{Name: name, Socket: socket, UDS: uds}, nil
}

// Names are the transports that there are, without devices.
func Names() (names []string) {
	for _, t := range builtin() {
		names = append(names, t.Name())
	}
	return names
}

func builtin() []transport {
	all := []transport{sockets{"unix"}, sockets{"tcp"}, inproc{}}
	return append(append(all, linuxTransports()...), limit{})
}

func (c *Config) transports() (all []transport, err error) {
	names := Names()
	for _, d := range c.Devices {
		names = append(names, d.Name)
	}
	for _, name := range c.Transports {
		if !slices.Contains(names, name) {
			return nil, bench.ConfigErrorf("compare: there is no transport %q; choose from %s", name, strings.Join(names, ", "))
		}
	}
	for _, t := range builtin() {
		if len(c.Transports) == 0 || slices.Contains(c.Transports, t.Name()) {
			all = append(all, t)
		}
	}
	for _, d := range c.Devices {
		t, err := newDevice(d)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// Run compares. Transports that do not work are left out, and the report says why.
func Run(ctx context.Context, c Config) (_ *Report, err error) {
	transports, err := c.transports()
	if err != nil {
		return nil, err
	}
	if err := checkRounds(c.Rounds, c.Time); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vsock-compare-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	rep := &Report{Version: reportVersion, Machine: describeMachine(), Rounds: c.Rounds, Time: c.Time}
	busy := startBusy()
	contenders := make([]*contender, 0, len(transports))
	defer func() {
		for _, t := range contenders {
			_ = t.close()
		}
	}()
	for i, t := range transports {
		own := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return nil, err
		}
		p := newContender(t, own, c.Child)
		rep.Entries = append(rep.Entries, p.entry)
		contenders = append(contenders, p)
		p.open(ctx)
	}
	if err := c.rounds(ctx, contenders); err != nil {
		return nil, err
	}
	for _, t := range contenders {
		if err := t.close(); err != nil {
			return nil, err
		}
	}
	rep.Machine.OthersBusy = busy.others()
	rep.summarize()
	return rep, nil
}

// checkRounds refuses what cannot be measured.
func checkRounds(rounds int, each time.Duration) error {
	if rounds < 1 || each <= 0 || each > bench.MaxTime {
		return bench.ConfigErrorf("compare: %d rounds of %v; choose at least 1, and more than 0 up to %v", rounds, each, bench.MaxTime)
	}
	return nil
}

// metrics are those that were asked for.
func (c *Config) metrics() (chosen []metric) {
	for _, m := range metrics() {
		if len(c.Metrics) == 0 || slices.ContainsFunc(c.Metrics, func(s string) bool { return strings.HasPrefix(m.name, s) }) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// rounds runs all measurements; round 0 warms up and does not count.
func (c *Config) rounds(ctx context.Context, contenders []*contender) error {
	all := c.metrics()
	total := (c.Rounds + 1) * len(all) * len(contenders)
	done := 0
	for round := range c.Rounds + 1 {
		for _, m := range all {
			for i := range contenders {
				// Another one begins each round, so that none always follows the same.
				p := contenders[(i+round)%len(contenders)]
				if c.Progress != nil {
					c.Progress(done, total, p.entry.Name+": "+m.title)
				}
				done++
				j := m.job
				j.Time = c.Time
				if round == 0 {
					j.Time = max(c.Time/4, time.Millisecond)
				}
				p.measure(ctx, m, j, round > 0)
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
	}
	return nil
}
