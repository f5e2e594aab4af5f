package vswitch

import (
	"context"
	"sync"
	"time"
)

// How many sessions may begin in a second; as many may come at once. One that begins and
// ends takes the switch much longer than whoever connects.
const (
	guestSessions = 50  // of a guest, whose virtual machine does not start so often
	userSessions  = 200 // of a user's processes at an attach socket, which may be short-lived
)

// pace holds sessions back that come too fast.
type pace struct {
	mu     sync.Mutex
	tokens tokens
}

func newPace(rate int) *pace { return &pace{tokens: newTokens(rate, rate)} }

// enter returns when a session may begin: false if ctx is done before.
func (p *pace) enter(ctx context.Context) bool {
	for ctx.Err() == nil {
		p.mu.Lock()
		wait := p.tokens.wait(1, time.Now())
		if wait == 0 {
			p.tokens.level--
		}
		p.mu.Unlock()
		if wait == 0 {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return false
}
