package guestmem

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// memfd gives a file in memory, unsealed, as a front-end would share it.
func memfd(t testing.TB, size int64) int {
	t.Helper()
	fd, err := unix.MemfdCreate("guestmem-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	return fd
}

func mustMap(t testing.TB, regions []Region, fds []int) *Memory {
	t.Helper()
	m, err := Map(regions, fds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Unmap(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// mappings counts the mappings of memfd's files in this process.
func mappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "guestmem-test")
}

func TestMapRefuses(t *testing.T) {
	const size = 64 << 10
	file := memfd(t, size)
	readOnly, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(readOnly) }()

	good := Region{GuestAddr: 0, Size: 4096, UserAddr: 1 << 32}
	change := func(f func(r *Region)) []Region {
		r := Region{GuestAddr: 1 << 20, Size: 4096, UserAddr: 2 << 32}
		f(&r)
		return []Region{good, r}
	}
	for name, c := range map[string]struct {
		regions []Region
		fds     []int
		want    string
	}{
		"no regions":           {nil, nil, "0 regions"},
		"too many":             {make([]Region, MaxRegions+1), make([]int, MaxRegions+1), "9 regions"},
		"a descriptor missing": {[]Region{good}, nil, "0 descriptors"},
		"a descriptor extra":   {[]Region{good}, []int{file, file}, "2 descriptors"},
		"no such descriptor":   {[]Region{good}, []int{-1}, "bad file descriptor"},
		"not a file in memory": {[]Region{good}, []int{readOnly}, "file of 0 bytes"},
		"empty":                {change(func(r *Region) { r.Size = 0 }), []int{file, file}, "region 1 is empty"},
		"guest overflow":       {change(func(r *Region) { r.GuestAddr = math.MaxUint64 - 4095 }), []int{file, file}, "overflow"},
		"user overflow":        {change(func(r *Region) { r.UserAddr = math.MaxUint64 - 4095 }), []int{file, file}, "overflow"},
		"offset overflow":      {change(func(r *Region) { r.MmapOffset = math.MaxUint64 - 4095 }), []int{file, file}, "overflow"},
		"offset negative":      {change(func(r *Region) { r.MmapOffset = 1 << 63 }), []int{file, file}, "overflow"},
		"guest overlap":        {change(func(r *Region) { r.GuestAddr = 4095 }), []int{file, file}, "0 and 1 overlap"},
		"user overlap":         {change(func(r *Region) { r.UserAddr = 1<<32 - 4095 }), []int{file, file}, "0 and 1 overlap"},
		"within another":       {change(func(r *Region) { r.GuestAddr, r.Size = 1, 1 }), []int{file, file}, "0 and 1 overlap"},
		"larger than the file": {change(func(r *Region) { r.Size = size + 1 }), []int{file, file}, "ends before"},
		"past the file's end":  {change(func(r *Region) { r.MmapOffset = size - 4095 }), []int{file, file}, "ends before"},
		"one over the limit":   {change(func(r *Region) { r.Size = MaxTotal }), []int{file, file}, "over the limit"},
		"size of all":          {change(func(r *Region) { r.Size = math.MaxUint64 }), []int{file, file}, "over the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Map(c.regions, c.fds)
			if err == nil {
				_ = m.Unmap()
				t.Fatal("mapped")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not tell of %q", err, c.want)
			}
			if m != nil {
				t.Error("memory with an error")
			}
			if n := mappings(t); n != 0 {
				t.Errorf("%d mappings are left", n)
			}
		})
	}
}

// A region need not begin at a page of its file: User Mode Linux's does not promise to.
func TestMapPlaces(t *testing.T) {
	const size = 64 << 10
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i*7 + i>>8)
	}
	fd := memfd(t, size)
	if _, err := unix.Pwrite(fd, content, 0); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Region{
		"whole file":        {GuestAddr: 1 << 20, UserAddr: 1 << 40, Size: size},
		"at a page":         {GuestAddr: 1 << 20, UserAddr: 1 << 40, Size: 4096, MmapOffset: 8192},
		"inside a page":     {GuestAddr: 1 << 20, UserAddr: 1 << 40, Size: 100, MmapOffset: 4096 + 33},
		"across pages":      {GuestAddr: 1 << 20, UserAddr: 1 << 40, Size: 4096, MmapOffset: 33},
		"to the file's end": {GuestAddr: 1 << 20, UserAddr: 1 << 40, Size: 33, MmapOffset: size - 33},
	} {
		t.Run(name, func(t *testing.T) {
			m := mustMap(t, []Region{r}, []int{fd})
			want := content[r.MmapOffset:][:r.Size]
			for what, look := range map[string]func() ([]byte, bool){
				"guest": func() ([]byte, bool) { return m.Slice(r.GuestAddr, r.Size) },
				"user":  func() ([]byte, bool) { return m.UserSlice(r.UserAddr, r.Size) },
			} {
				got, ok := look()
				if !ok || !bytes.Equal(got, want) {
					t.Errorf("%s address: ok %v, and the bytes of another place", what, ok)
				}
			}
			if _, ok := m.Slice(r.GuestAddr, r.Size+1); ok {
				t.Error("a byte more than the region")
			}
			if _, ok := m.Slice(r.GuestAddr-1, 1); ok {
				t.Error("the byte before the region")
			}
		})
	}
}

func TestMemoryIsShared(t *testing.T) {
	m, f, err := Alloc(1<<20, 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	other := mustMap(t, []Region{{GuestAddr: 0, UserAddr: 0, Size: 8192}}, []int{int(f.Fd())})
	a, _ := m.Slice(1<<20+5000, 4)
	copy(a, "ping")
	b, _ := other.Slice(5000, 4)
	if string(b) != "ping" {
		t.Errorf("the other end sees %q", b)
	}
	if err := m.Unmap(); err != nil {
		t.Error(err)
	}
	if string(b) != "ping" {
		t.Error("the memory went with one end")
	}
	if _, ok := m.Slice(1<<20, 1); ok {
		t.Error("a look-up after Unmap succeeded")
	}
	if err := m.Unmap(); err != nil {
		t.Errorf("second Unmap: %v", err)
	}
}

// What is allocated for a device to share cannot be taken from under it.
func TestAllocIsSealed(t *testing.T) {
	m, f, err := Alloc(0, 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = m.Unmap(), f.Close() }()
	for _, size := range []int64{0, 4096, 16384} {
		if err := f.Truncate(size); !errors.Is(err, unix.EPERM) {
			t.Errorf("truncate to %d: %v, want EPERM", size, err)
		}
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); !errors.Is(err, unix.EPERM) {
		t.Errorf("a further seal: %v, want EPERM", err)
	}
}

func TestAllocRefuses(t *testing.T) {
	for _, size := range []uint64{0, MaxTotal + 1, 1 << 63, math.MaxUint64} {
		m, f, err := Alloc(0, size)
		if err == nil || m != nil || f != nil {
			t.Errorf("%d bytes: memory %v, file %v, error %v", size, m, f, err)
		}
	}
}

// QEMU's second region begins at 0xc0000, which is no multiple of a huge page.
func TestWindow(t *testing.T) {
	const huge = 2 << 20
	for name, c := range map[string]struct {
		r                    Region
		page                 uint64
		off, length, skipped uint64
	}{
		"whole page":      {Region{Size: 4096}, 4096, 0, 4096, 0},
		"part of a page":  {Region{Size: 1, MmapOffset: 4097}, 4096, 4096, 4096, 1},
		"across pages":    {Region{Size: 4096, MmapOffset: 4097}, 4096, 4096, 8192, 1},
		"huge, unaligned": {Region{Size: huge, MmapOffset: 0xc0000}, huge, 0, 2 * huge, 0xc0000},
		"huge, in second": {Region{Size: 4096, MmapOffset: huge + 4096}, huge, huge, huge, 4096},
	} {
		off, length, skip := window(c.r, c.page)
		if off != c.off || length != c.length || skip != c.skipped {
			t.Errorf("%s: offset %#x, length %#x, skip %#x; want %#x, %#x, %#x", name, off, length, skip, c.off, c.length, c.skipped)
		}
	}
}

// Without huge pages to spare the machine refuses the memory, but for no other
// reason: a mapping that is not of whole huge pages is EINVAL before that.
func TestMapHugePages(t *testing.T) {
	const huge = 2 << 20
	fd, err := unix.MemfdCreate("guestmem-test", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB)
	if err != nil {
		t.Skipf("this kernel has no huge pages of 2 MiB: %v", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Ftruncate(fd, 2*huge); err != nil {
		t.Fatal(err)
	}
	m, err := Map([]Region{{Size: huge, MmapOffset: 0xc0000}}, []int{fd})
	if err == nil {
		err = m.Unmap()
	}
	if err != nil && !errors.Is(err, unix.ENOMEM) {
		t.Error(err)
	}
}

func TestPageSizeOn(t *testing.T) {
	const huge = 2 << 20
	page := uint64(os.Getpagesize())
	for name, c := range map[string]struct {
		fsType uint32
		block  uint64
		want   uint64 // 0: refused
	}{
		"memfd":      {unix.TMPFS_MAGIC, 4096, page},
		"huge pages": {unix.HUGETLBFS_MAGIC, huge, huge},
		"disk":       {unix.EXT4_SUPER_MAGIC, 1024, page},
		"container":  {unix.OVERLAYFS_SUPER_MAGIC, 4096, page},
		"FUSE":       {unix.FUSE_SUPER_MAGIC, 4096, 0},
		"NFS":        {unix.NFS_SUPER_MAGIC, 4096, 0},
		"CIFS":       {unix.CIFS_SUPER_MAGIC, 4096, 0},
		"9P":         {unix.V9FS_MAGIC, 4096, 0},
	} {
		got, err := pageSizeOn(c.fsType, c.block)
		if got != c.want || errors.Is(err, errNotLocal) != (c.want == 0) {
			t.Errorf("%s: %d, %v; want %d", name, got, err, c.want)
		}
	}
}
