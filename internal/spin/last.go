package spin

import "sync"

// Who looks and has the last processor lets the goroutines run that can run. But the runtime
// neither looks for what the network and timers have brought nor balances the processors
// until one is left: a process that waits for both, such as one that joins sockets of
// different kinds, would have them wait.
const (
	lastBudget = budget / 2 // for how long one looks there
	lastRow    = 64         // after so many looks in a row that paid, it is left for once
)

// lastLooks is what is known of such looks, of all who wait. Whether they pay depends on the
// process rather than on what one waits for, and in so short a time less is found than in the
// others', so they teach a Wait nothing.
type lastLooks struct {
	mu   sync.Mutex
	wait Wait
	row  int // of looks that paid
}

var last lastLooks

func (l *lastLooks) pays() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.row >= lastRow {
		l.row = 0
		return false
	}
	return l.wait.pays()
}

func (l *lastLooks) learn(found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.row++; !found {
		l.row = 0
	}
	l.wait.learn(found)
}
