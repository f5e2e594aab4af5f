package guest

import (
	"context"
	"maps"
	"runtime"
	"syscall"
	"time"

	"vsockets.dev/internal/testguest/channel"
)

const (
	// explainTime is what programs have to print where they are, and to end.
	explainTime = 2 * time.Second

	// stacksSize is room for a few hundred goroutines.
	stacksSize = 256 << 10
)

// explain has each program of Go print where its goroutines are, as it does on
// SIGQUIT, and tells the same of the agent when they have. Other programs just
// end.
func (a *agent) explain() {
	stacks := make([]byte, stacksSize)
	stacks = stacks[:runtime.Stack(stacks, true)]
	a.mu.Lock()
	programs := maps.Clone(a.programs)
	a.mu.Unlock()
	for group := range programs {
		_ = syscall.Kill(-group, syscall.SIGQUIT)
	}
	limit, cancel := context.WithTimeout(context.Background(), explainTime)
	defer cancel()
	for _, ended := range programs {
		select {
		case <-ended:
		case <-limit.Done():
		}
	}
	_ = a.conn.Send(channel.KindStacks, 0, stacks)
}
