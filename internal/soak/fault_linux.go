package soak

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"
)

const (
	// faultsEvery is how much time a node has between two faults, on average.
	faultsEvery = 6 * time.Second

	// stallTime is how long a process is stopped. It is less than a connect waits.
	stallTime = 500 * time.Millisecond
)

// faultKind is what can happen to a node.
type faultKind struct {
	name   string
	ends   bool // the node: it is started again
	happen func(context.Context) error
}

// stall stops the process, and has it go on.
func (c *child) stall(ctx context.Context) error {
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, stallTime)
	return c.cmd.Process.Signal(syscall.SIGCONT)
}

// faults has one happen to a node now and then.
func (s *soak) faults(ctx context.Context, n *node, r *rand.Rand) {
	for pause(ctx, time.Duration(2*r.Float64()*float64(faultsEvery))) {
		kind := n.faults[r.IntN(len(n.faults))]
		s.resting.RLock() // until it is back
		if ctx.Err() == nil {
			s.fault(n, kind)
		}
		s.resting.RUnlock()
	}
}

func (s *soak) fault(n *node, f faultKind) {
	s.note("%s: %s", n.name, f.name)
	n.befall(f)
	s.count(func(r *Report) { r.Faults[f.name]++ })
	ctx, cancel := context.WithTimeout(s.ctx, bootLimit)
	defer cancel()
	if err := f.happen(ctx); err != nil {
		s.problem("%s: %s: %v", n.name, f.name, err)
	}
	if !f.ends {
		return
	}
	if err := n.begin(s.ctx); err != nil {
		s.problem("%s does not come back: %v", n.name, err)
	}
}

// pause waits, and says whether the context goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
