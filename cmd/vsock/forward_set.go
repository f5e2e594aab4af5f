package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vsockets.dev/internal/forward"
)

// forwards are forwards that run together.
type forwards struct {
	all   []*forward.Forwarder
	ended chan struct{} // closed when the last one has ended by itself
}

// startForwards starts all, or none.
func startForwards(ctx context.Context, configs []forward.Config) (*forwards, error) {
	s := &forwards{ended: make(chan struct{})}
	for _, c := range configs {
		f, err := forward.Start(ctx, c)
		if err != nil {
			for _, f := range s.all {
				_ = f.Close()
			}
			return nil, err
		}
		s.all = append(s.all, f)
	}
	go func() {
		_ = s.wait()
		close(s.ended)
	}()
	return s, nil
}

// wait returns when all have ended.
func (s *forwards) wait() error {
	status := exitCut
	var errs []error
	for _, f := range s.all {
		err := f.Wait()
		errs = append(errs, err)
		if err != nil && f.Counters().DialFailed > 0 {
			status = exitUnreachable
		}
	}
	return withStatus(status, errors.Join(errs...))
}

// drain lets the connections end, and resets those that have not when the time is
// over.
func (s *forwards) drain(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, len(s.all))
	for i, f := range s.all {
		all.Go(func() {
			if err := f.Drain(ctx); err != nil && ctx.Err() != nil {
				errs[i] = fmt.Errorf("%w (--drain %v); they were reset", err, limit)
				_ = f.Close()
			}
		})
	}
	all.Wait()
	return withStatus(exitCut, errors.Join(errs...))
}
