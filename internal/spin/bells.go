package spin

import (
	"runtime"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/eventfd"
)

// bellsEvery is how often who has the last processor, to look for packets, looks for signals too.
// The runtime does not then, and a ring at which nothing came for some time would wait until a
// processor is free, for 10 ms at most.
const bellsEvery = 20 * time.Microsecond

var bellsDue atomic.Int64 // ns after epoch

// bells looks for signals, if that is due, and lets those run who were waiting for them.
func bells(now time.Time) {
	t, due := int64(now.Sub(epoch)), bellsDue.Load()
	if t >= due && bellsDue.CompareAndSwap(due, t+int64(bellsEvery)) && eventfd.Look() {
		runtime.Gosched()
	}
}
