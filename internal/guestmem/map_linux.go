package guestmem

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Map maps the regions of a table, each from its file. The descriptors stay the
// caller's, who may close them.
func Map(regions []Region, fds []int) (_ *Memory, err error) {
	if len(regions) != len(fds) {
		return nil, fmt.Errorf("guestmem: %d regions with %d descriptors", len(regions), len(fds))
	}
	if err := check(regions); err != nil {
		return nil, err
	}
	m := new(Memory)
	defer func() {
		if err != nil {
			_ = m.Unmap()
		}
	}()
	for i, r := range regions {
		if err := m.mapRegion(r, fds[i]); err != nil {
			return nil, fmt.Errorf("guestmem: region %d of %d bytes: %w", i, r.Size, err)
		}
	}
	return m, nil
}

func (m *Memory) mapRegion(r Region, fd int) error {
	// A mapping past the end of its file would fault at the first touch.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if uint64(st.Size) < r.MmapOffset+r.Size {
		return fmt.Errorf("its file of %d bytes ends before offset %d plus the region's size", st.Size, r.MmapOffset)
	}
	page, err := pageSize(fd)
	if err != nil {
		return err
	}
	off, length, skip := window(r, page)
	if length > math.MaxInt {
		return errors.New("it is more than this process can address")
	}
	b, err := unix.Mmap(fd, int64(off), int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	m.regions = append(m.regions, mapped{
		guest: r.GuestAddr, user: r.UserAddr, size: r.Size,
		bytes: b[skip:][:r.Size], mapping: b,
	})
	return nil
}

// window gives the whole pages of a file that hold a region, and how many bytes of
// them come before it.
func window(r Region, page uint64) (off, length, skip uint64) {
	skip = r.MmapOffset % page
	return r.MmapOffset - skip, (skip + r.Size + page - 1) / page * page, skip
}

// Unmap gives the memory back. No slice of it may be used after.
func (m *Memory) Unmap() error {
	var errs []error
	for _, r := range m.regions {
		errs = append(errs, unix.Munmap(r.mapping))
	}
	m.regions = nil
	return errors.Join(errs...)
}

// Alloc makes memory of one region at guest and user address addr, to be shared
// with a device: a file in memory, which cannot change its size any more.
func Alloc(addr, size uint64) (_ *Memory, _ *os.File, err error) {
	fd, err := unix.MemfdCreate("vsock", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("guestmem: memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memfd:vsock")
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, fmt.Errorf("guestmem: %d bytes: %w", size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return nil, nil, fmt.Errorf("guestmem: seal: %w", err)
	}
	m, err := Map([]Region{{GuestAddr: addr, UserAddr: addr, Size: size}}, []int{fd})
	if err != nil {
		return nil, nil, err
	}
	return m, f, nil
}
