package spin

import (
	"sync/atomic"
	"time"

	"vsockets.dev/internal/eventfd"
)

// bellsEvery is how often who has the last processor, to look for packets, looks for signals too,
// at most. The runtime does not then, and a ring at which nothing came for some time would wait
// until a processor is free, for 10 ms at most. Where more processors are than may look, one
// mostly is.
const bellsEvery = 20 * time.Microsecond

var bellsDue atomic.Int64 // ns after epoch

// bells looks for signals, if that is due. If there are any, the caller lets those run who wait
// for them.
func bells() bool {
	now, due := int64(time.Since(epoch)), bellsDue.Load()
	return now >= due && bellsDue.CompareAndSwap(due, now+int64(bellsEvery)) && eventfd.Look()
}
