package guestmem

import (
	"sync/atomic"
	"unsafe"
)

// Word is a 32-bit word of shared memory, to be used atomically. Virtio is
// little-endian, and so must the machine be; every machine that runs vhost-user
// guests is.
//
// Each method is a full barrier, also for the race detector: to that, an
// atomic store and a load after it may change places (golang/go#58020).
type Word struct{ v atomic.Uint32 }

// WordAt gives the word at an offset: false where it is not aligned, or not all
// there.
func WordAt(b []byte, off int) (*Word, bool) {
	if off < 0 || off > len(b)-4 {
		return nil, false
	}
	p := unsafe.Pointer(&b[off])
	if uintptr(p)%4 != 0 {
		return nil, false
	}
	return (*Word)(p), true
}

// Load reads the word.
func (w *Word) Load() uint32 {
	return w.v.Load()
}

// Store writes the word.
func (w *Word) Store(v uint32) {
	w.v.Swap(v)
}

// Swap writes the word, and tells what it was.
func (w *Word) Swap(v uint32) (old uint32) {
	return w.v.Swap(v)
}

// CompareAndSwap writes the word if it is old.
func (w *Word) CompareAndSwap(old, v uint32) bool {
	return w.v.CompareAndSwap(old, v)
}
