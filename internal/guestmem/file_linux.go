package guestmem

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errNotLocal refuses files whose pages come from a process or another machine. A
// touch of such a page takes as long as they like, and with it the thread, which
// not even the garbage collector can interrupt: all of this process would stand
// still. (What such a file system is beneath an overlay cannot be told.)
var errNotLocal = errors.New("its file is on a file system that others serve; memory must be a memfd, or a file in /dev/shm or on huge pages")

// pageSize is the size of the pages that a file is mapped by. Files of huge pages
// refuse to be mapped, and unmapped, by anything less.
func pageSize(fd int) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return pageSizeOn(uint32(fs.Type), uint64(fs.Bsize))
}

// pageSizeOn needs the type of a file system, and the size of its blocks.
func pageSizeOn(fsType uint32, block uint64) (uint64, error) {
	switch fsType {
	case unix.FUSE_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.CODA_SUPER_MAGIC:
		return 0, errNotLocal
	case unix.HUGETLBFS_MAGIC:
		return max(block, uint64(os.Getpagesize())), nil
	}
	return uint64(os.Getpagesize()), nil
}
