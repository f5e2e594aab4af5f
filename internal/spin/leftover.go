package spin

import "sync/atomic"

// Leftover is what is left in a ring when nobody polls it any more. It is taken up by one
// goroutine, however many ask: where the other side sends without end, none of them would
// end. The zero value is ready to use.
type Leftover struct{ runs atomic.Bool }

// Some takes a batch, and leaves the rest to the goroutine: whoever stops to poll, or
// wakes another, may be there for many rings.
func (l *Leftover) Some(s Source) {
	if s.Ready() {
		s.TakeSome()
		if s.Ready() { // also if that were none: a signal must be asked for
			l.Later(s)
		}
	}
}

// Later leaves all to the goroutine.
func (l *Leftover) Later(s Source) {
	if l.runs.Swap(true) {
		return // that one looks once more before it ends
	}
	go func() {
		for {
			All(s)
			l.runs.Store(false)
			if !s.Ready() || l.runs.Swap(true) {
				return
			}
		}
	}()
}
