package vswitch

import (
	"context"
	"sync"
	"time"
)

// How many sessions may begin in a second, and how often queues may be stopped; as many may
// come at once. Both take the switch much longer than the other end.
const (
	guestSessions = 50  // of a guest, whose virtual machine does not start so often
	userSessions  = 200 // of a user's processes at an attach socket, which may be short-lived
	guestLeaves   = 200 // of a guest or a process, for its four or five at each end of a session
)

// pace holds back what comes too fast.
type pace struct {
	mu     sync.Mutex
	tokens tokens
}

func newPace(rate int) *pace { return &pace{tokens: newTokens(rate, rate)} }

// enter returns when one may begin, in the order in which they asked: false if ctx is
// done before.
func (p *pace) enter(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	p.mu.Lock()
	wait := p.tokens.wait(1, time.Now())
	p.tokens.level-- // below 0 it is what those take who wait already
	p.mu.Unlock()
	if wait == 0 {
		return true
	}
	select {
	case <-ctx.Done():
		p.mu.Lock()
		p.tokens.level++
		p.mu.Unlock()
		return false
	case <-time.After(wait):
		return true
	}
}
