//go:build !linux

package guestmem

import "errors"

// Map needs Linux.
func Map([]Region, []int) (*Memory, error) {
	return nil, errors.New("guestmem: shared guest memory needs Linux")
}

// Unmap needs Linux.
func (m *Memory) Unmap() error { return nil }
