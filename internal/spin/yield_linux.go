package spin

import "golang.org/x/sys/unix"

// giveWay lets another thread run that this processor has, if there is one. The
// runtime is not told: it would take the processor from this thread for longer.
func giveWay() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
