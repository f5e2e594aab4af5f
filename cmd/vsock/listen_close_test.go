package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// slowCloser is one whose Close takes its time.
type slowCloser struct {
	closed atomic.Int32
	let    chan struct{}
}

func (c *slowCloser) Close() error {
	<-c.let
	c.closed.Add(1)
	return nil
}

func TestCloseWith(t *testing.T) {
	for name, cancelled := range map[string]bool{"interrupted": true, "at its end": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := &slowCloser{let: make(chan struct{})}
				end := closeWith(ctx, c)
				if cancelled {
					cancel()
					synctest.Wait()
				}
				var ended atomic.Bool
				go func() {
					end()
					ended.Store(true)
				}()
				synctest.Wait()
				if ended.Load() {
					t.Error("it has ended, and is not closed")
				}
				close(c.let)
				synctest.Wait()
				if !ended.Load() || c.closed.Load() != 1 {
					t.Errorf("ended: %v, closed %d times", ended.Load(), c.closed.Load())
				}
			})
		})
	}
}
