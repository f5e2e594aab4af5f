package guestmem

import "unsafe"

// holds says whether an address of this process lies in m.
func (m *Memory) holds(addr uintptr) bool {
	for _, r := range m.regions {
		if start := uintptr(unsafe.Pointer(unsafe.SliceData(r.mapping))); addr-start < uintptr(len(r.mapping)) {
			return true
		}
	}
	return false
}
