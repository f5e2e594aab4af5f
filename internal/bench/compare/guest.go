package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"vsockets.dev/internal/bench"
)

// GuestConfig says how to measure connections to real guests.
type GuestConfig struct {
	Machines []string // names of package testguest's. Default: GuestMachines
	Metrics  []string // as in Config
	Rounds   int
	Time     time.Duration // of each measurement

	// Tool is the path of vsock, a static program: it is the guest's init, and runs
	// in it, as vsock bench serve.
	Tool string

	// Device is the program of rust-vmm's device; none: it is left out.
	Device string

	// Loopback is the program that compares APIs, test/loopback, a static one. It runs
	// in a guest of its own. None: that is left out.
	Loopback string

	Child    childFunc                          // as in Config
	Progress func(done, total int, what string) // as in Config
}

// GuestMachines are those that are measured unless others are named: two front-ends
// of vhost-user, and drivers from before and after Linux 6.2, see package testguest.
var GuestMachines = []string{"uml", "qemu-6.1", "qemu-6.12"}

// Names of the ways from the host to a guest.
const (
	guestHost   = "host"   // the host's context, in the program that embeds the switch
	guestHybrid = "hybrid" // a process, over the Unix sockets that our switch has for the guest
)

// guestPaths are the ways, in the order of tables. The last is of the device that
// the others are held against.
var guestPaths = []string{guestHost, guestHybrid, OtherDevice}

// guestMetrics are the names of what is measured, in the order of tables.
var guestMetrics = func() (names []string) {
	for _, block := range Blocks {
		names = append(names, throughput(bench.Up, block), throughput(bench.Down, block))
	}
	return append(names, roundTrip, connects(1))
}()

// onlyGuestMetrics are those that were asked for, of those that are measured with
// guests.
func onlyGuestMetrics(asked []string) (names []string) {
	for _, m := range (&Config{Metrics: asked}).metrics() {
		if slices.Contains(guestMetrics, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

// GuestReport is what came of it.
type GuestReport struct {
	Version int           `json:"version"`
	Machine Machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Time    time.Duration `json:"time_ns"`
	Device  string        `json:"device,omitempty"` // its name and version, if it was there
	Guests  []*GuestRun   `json:"guests"`
}

// GuestRun is one kind of guest.
type GuestRun struct {
	Machine string       `json:"machine"`
	Kernel  string       `json:"kernel"`
	Paths   []*GuestPath `json:"paths"`

	// Loopback are the APIs, in a guest of their own over its kernel's loopback.
	Loopback []*GuestPath `json:"loopback,omitempty"`
}

// GuestPath is a way to the guest.
type GuestPath struct {
	Name     string               `json:"name"`
	Restarts int                  `json:"restarts,omitempty"` // it had to be joined anew, since nothing moved
	Failures []string             `json:"failures,omitempty"`
	Values   map[string][]float64 `json:"values"` // by metric, by round
}

// newGuestPath takes in what a contender did.
func newGuestPath(name string, e *Entry) *GuestPath {
	p := &GuestPath{Name: name, Restarts: e.Restarts, Values: map[string][]float64{}}
	for _, metric := range guestMetrics {
		m := metricNamed(metric)
		for _, one := range e.Metrics[metric] {
			p.Values[metric] = append(p.Values[metric], m.value(one))
		}
		if why := e.Failed[metric]; why != "" {
			p.Failures = append(p.Failures, m.title+": "+why)
		}
	}
	if e.Error != "" {
		p.Failures = append(p.Failures, e.Error)
	}
	return p
}

// pathMedian is that of a metric, and whether there is one.
func pathMedian(paths []*GuestPath, name, metric string) (float64, bool) {
	for _, p := range paths {
		if v := p.Values[metric]; p.Name == name && len(v) > 0 {
			return median(v), true
		}
	}
	return 0, false
}

// against holds one against another: 0 if one of the two is missing.
func against(paths []*GuestPath, name, other, metric string) float64 {
	ours, ok1 := pathMedian(paths, name, metric)
	theirs, ok2 := pathMedian(paths, other, metric)
	if !ok1 || !ok2 || theirs <= 0 {
		return 0
	}
	return ours / theirs
}

// ParseGuest reads a report that was stored as JSON.
func ParseGuest(text []byte) (*GuestReport, error) {
	var r GuestReport
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("compare: guest report: %w", err)
	}
	if r.Version != reportVersion {
		return nil, fmt.Errorf("compare: a guest report of version %d, and this program knows %d; measure anew", r.Version, reportVersion)
	}
	for _, g := range r.Guests {
		if g == nil {
			return nil, errors.New("compare: guest report: a guest is null")
		}
		if err := errors.Join(checkPaths(g.Paths, guestPaths), checkPaths(g.Loopback, loopbackNames)); err != nil {
			return nil, fmt.Errorf("compare: guest report: %s: %w", g.Machine, err)
		}
	}
	return &r, nil
}
