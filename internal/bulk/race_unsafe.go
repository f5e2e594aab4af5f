//go:build race

package bulk

import (
	"runtime"
	"unsafe"
)

// noteCopy tells the race detector, which does not look into assembly.
func noteCopy(dst, src []byte) {
	runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(src)), len(src))
	runtime.RaceWriteRange(unsafe.Pointer(unsafe.SliceData(dst)), len(dst))
}
