package compare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"vsockets.dev/internal/bench"
)

// Limits of what is done for a transport that fails.
const (
	maxRestarts = 20 // in one comparison
	maxTries    = 3  // of one measurement

	// openWithin is how soon a device must be there again after a session, and
	// openEvery is how often that is tried.
	openWithin = 3 * time.Second
	openEvery  = 20 * time.Millisecond
)

// contender is a transport in a comparison.
type contender struct {
	transport transport
	dir       string
	child     childFunc
	entry     *Entry
	link      link // nil: it is out
	worked    bool // once, at least
}

func newContender(t transport, dir string, child childFunc) *contender {
	return &contender{transport: t, dir: dir, child: child, entry: &Entry{
		Name: t.Name(), Metrics: map[string][]bench.Result{}, Failed: map[string]string{},
	}}
}

func (c *contender) open(ctx context.Context) {
	l, err := c.transport.Open(ctx, c.dir, c.child)
	for end := time.Now().Add(openWithin); err != nil && c.entry.Restarts > 0 && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(openEvery):
			l, err = c.transport.Open(ctx, c.dir, c.child)
		}
	}
	if err != nil {
		c.entry.Error = c.clean(err)
		return
	}
	c.link = l
}

func (c *contender) close() error {
	if c.link == nil {
		return nil
	}
	l := c.link
	c.link = nil
	return l.Close()
}

// clean leaves out paths: they are this run's own.
func (c *contender) clean(err error) string {
	if c.dir == "" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), c.dir+"/", "")
}

// measure makes one measurement, with a new link after each failure. One that
// keeps failing is left out from then on, and a transport that does, too.
func (c *contender) measure(ctx context.Context, m metric, j bench.Job, counts bool) {
	if c.link == nil || c.entry.Failed[m.name] != "" {
		return
	}
	for try := 1; ; try++ {
		r, err := c.link.Run(ctx, j)
		switch {
		case errors.Is(err, errors.ErrUnsupported) || ctx.Err() != nil:
			return
		case err == nil:
			c.worked = true
			if counts {
				c.entry.Metrics[m.name] = append(c.entry.Metrics[m.name], r)
			}
			return
		}
		_ = c.close() // it failed, and may do so again
		if !c.worked && try == maxTries || c.entry.Restarts == maxRestarts {
			c.entry.Error = c.clean(fmt.Errorf("%s: %w", m.title, err))
			return
		}
		c.entry.Restarts++
		if c.open(ctx); c.link == nil {
			return
		}
		if try == maxTries {
			c.entry.Failed[m.name] = c.clean(err)
			delete(c.entry.Metrics, m.name)
			return
		}
	}
}
