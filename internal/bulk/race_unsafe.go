//go:build race

package bulk

import (
	"runtime"
	"unsafe"
)

// read tells the race detector of what is read, since it does not look into assembly.
func read(b []byte) { runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(b)), len(b)) }
