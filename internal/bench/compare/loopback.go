package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"vsockets.dev/internal/bench"
)

// API is a library for the sockets of one kernel. What is measured is what it adds:
// both ends are in this process, and the way between them is the kernel's.
type API struct {
	Name   string
	Listen func(ctx context.Context) (net.Listener, error)
	Dial   func(ctx context.Context) (net.Conn, error)
}

// Names of the APIs that are compared.
const (
	OurAPI   = "vsockets.dev/vsock"
	OtherAPI = "github.com/mdlayher/vsock"
)

var loopbackNames = []string{OurAPI, OtherAPI}

// APIConfig says how to compare APIs.
type APIConfig struct {
	Metrics []string // as in Config
	Rounds  int
	Time    time.Duration // of each measurement
}

// apiTransport is an API, from this process to itself.
type apiTransport struct{ API }

func (a apiTransport) Name() string { return a.API.Name }

func (a apiTransport) Open(ctx context.Context, _ string, _ childFunc) (link, error) {
	return build(func(c *chain) error {
		l, err := a.Listen(ctx)
		if err != nil {
			return err
		}
		c.serve(l)
		client := bench.Client{Dial: a.Dial}
		c.run = client.Run
		return nil
	})
}

// RunAPIs measures the APIs in turn, and writes what came of it, as JSON: a
// program that runs in a guest calls it.
func RunAPIs(ctx context.Context, c APIConfig, apis []API, out io.Writer) error {
	if err := checkRounds(c.Rounds, c.Time); err != nil {
		return err
	}
	contenders := make([]*contender, 0, len(apis))
	defer func() {
		for _, p := range contenders {
			_ = p.close()
		}
	}()
	for _, a := range apis {
		p := newContender(apiTransport{a}, "", nil)
		contenders = append(contenders, p)
		p.open(ctx)
	}
	rounds := Config{Metrics: onlyGuestMetrics(c.Metrics), Rounds: c.Rounds, Time: c.Time}
	if err := rounds.rounds(ctx, contenders); err != nil {
		return err
	}
	var paths []*GuestPath
	for _, p := range contenders {
		if err := p.close(); err != nil {
			return err
		}
		paths = append(paths, newGuestPath(p.entry.Name, p.entry))
	}
	return json.NewEncoder(out).Encode(paths)
}

// loopbackShare is how much shorter a measurement of an API is than others, and how
// many more there are: what is compared lies close together, and a machine's moods
// last longer than a measurement.
const loopbackShare = 10

// apiConfig is what a guest measures.
func (c *GuestConfig) apiConfig() APIConfig {
	return APIConfig{
		Metrics: c.Metrics, Rounds: c.Rounds * loopbackShare,
		Time: max(c.Time/loopbackShare, time.Millisecond),
	}
}

// args are those of the program that runs in a guest.
func (c APIConfig) args() []string {
	return append([]string{strconv.Itoa(c.Rounds), c.Time.String()}, c.Metrics...)
}

// ParseAPIArgs reads the arguments of the program that runs in a guest: rounds, the
// time of a measurement, and metrics.
func ParseAPIArgs(args []string) (c APIConfig, err error) {
	if len(args) < 2 {
		return c, errors.New("compare: give rounds, the time of a measurement, and the metrics")
	}
	if c.Rounds, err = strconv.Atoi(args[0]); err != nil {
		return c, fmt.Errorf("compare: rounds: %w", err)
	}
	if c.Time, err = time.ParseDuration(args[1]); err != nil {
		return c, fmt.Errorf("compare: time: %w", err)
	}
	c.Metrics = args[2:]
	return c, nil
}

// parseLoopback reads what RunAPIs wrote.
func parseLoopback(text []byte) (paths []*GuestPath, err error) {
	if err := json.Unmarshal(text, &paths); err != nil {
		return nil, fmt.Errorf("compare: what the guest's program wrote: %w", err)
	}
	return paths, checkPaths(paths, loopbackNames)
}

// checkPaths refuses names that are not known.
func checkPaths(paths []*GuestPath, names []string) error {
	for _, p := range paths {
		if p == nil || !slices.Contains(names, p.Name) {
			return fmt.Errorf("compare: one of the ways is none of %q", names)
		}
		for metric := range p.Values {
			if !slices.Contains(guestMetrics, metric) {
				return fmt.Errorf("compare: %q is not measured with guests", metric)
			}
		}
	}
	return nil
}
