package guestmem

import (
	"sync/atomic"
	"unsafe"
)

// Word gives the 32-bit word at an offset, for atomic access: false where it is
// not aligned, or not all there. Virtio is little-endian, and so must the machine
// be; every machine that runs vhost-user guests is.
func Word(b []byte, off int) (*atomic.Uint32, bool) {
	if off < 0 || off > len(b)-4 {
		return nil, false
	}
	p := unsafe.Pointer(&b[off])
	if uintptr(p)%4 != 0 {
		return nil, false
	}
	return (*atomic.Uint32)(p), true
}
