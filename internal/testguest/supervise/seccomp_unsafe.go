//go:build linux && amd64

package supervise

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denyVsock installs noVsockFilter for this process and all that it starts
// from now on, for good.
func denyVsock() error {
	filter := noVsockFilter()
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Without it only a privileged process may install a filter.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// TSYNC: all threads, since Go may start a process from any.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}
