package switchd

import (
	"runtime"
	"runtime/metrics"
)

// Process tells of the switch's process what only it knows itself: what must not grow
// for ever. What the system knows, such as descriptors, is in /proc/PID.
type Process struct {
	Goroutines int    `json:"goroutines"` // without the runtime's own
	LiveHeap   uint64 `json:"live_heap"`  // bytes that the last collection left
}

// ThisProcess is that of this program.
func ThisProcess() Process {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return Process{Goroutines: runtime.NumGoroutine(), LiveHeap: s[0].Value.Uint64()}
}
