// Package guestmem is a guest's memory as a vhost-user front-end shares it: a few
// regions, and bounds-checked look-ups in them. With package virtqueue it is the
// only place where foreign memory is touched by address.
//
// Source: vhost-user: QEMU docs/interop/vhost-user, "Memory region description".
package guestmem

import (
	"errors"
	"fmt"
	"math"
)

// MaxRegions is the most regions of a table, which is vhost-user's own limit.
const MaxRegions = 8

// MaxTotal is the most memory that one table may map.
const MaxTotal = 1 << 40

// Region is one entry of a vhost-user memory table.
type Region struct {
	GuestAddr  uint64 // where the guest sees it
	Size       uint64 // bytes
	UserAddr   uint64 // where the front-end sees it; ring addresses are of this kind
	MmapOffset uint64 // where it begins in its file
}

// Memory is a table of mapped regions. It does not change.
type Memory struct {
	regions []mapped
}

type mapped struct {
	guest, user, size uint64
	bytes             []byte // the region
	mapping           []byte // what mmap gave: bytes, from a page boundary on
}

// Slice gives n bytes at a guest address. They must lie in one region.
func (m *Memory) Slice(gpa, n uint64) ([]byte, bool) {
	for i := range m.regions {
		r := &m.regions[i]
		if off := gpa - r.guest; off < r.size {
			return r.cut(off, n)
		}
	}
	return nil, false
}

// UserSlice gives n bytes at an address of the front-end.
func (m *Memory) UserSlice(uva, n uint64) ([]byte, bool) {
	for i := range m.regions {
		r := &m.regions[i]
		if off := uva - r.user; off < r.size {
			return r.cut(off, n)
		}
	}
	return nil, false
}

// cut needs off < size. The capacity is cut too, so that nothing grows past n.
func (r *mapped) cut(off, n uint64) ([]byte, bool) {
	if n > r.size-off {
		return nil, false
	}
	return r.bytes[off : off+n : off+n], true
}

// check judges a table before anything is mapped.
func check(regions []Region) error {
	if len(regions) == 0 || len(regions) > MaxRegions {
		return fmt.Errorf("guestmem: %d regions, want 1 to %d", len(regions), MaxRegions)
	}
	total := uint64(0)
	for i, r := range regions {
		switch {
		case r.Size == 0:
			return fmt.Errorf("guestmem: region %d is empty", i)
		case r.Size > MaxTotal-total:
			return fmt.Errorf("guestmem: region %d of %d bytes brings the table over the limit of %d", i, r.Size, uint64(MaxTotal))
		case r.GuestAddr > math.MaxUint64-r.Size, r.UserAddr > math.MaxUint64-r.Size, r.MmapOffset > math.MaxInt64-r.Size:
			return fmt.Errorf("guestmem: region %d: address and size overflow", i)
		}
		total += r.Size
		for j, o := range regions[:i] {
			if overlap(r.GuestAddr, r.Size, o.GuestAddr, o.Size) || overlap(r.UserAddr, r.Size, o.UserAddr, o.Size) {
				return fmt.Errorf("guestmem: regions %d and %d overlap", j, i)
			}
		}
	}
	if total > math.MaxInt {
		return errors.New("guestmem: more memory than this process can address")
	}
	return nil
}

func overlap(a, an, b, bn uint64) bool { return a < b+bn && b < a+an }
