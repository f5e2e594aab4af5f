package compare

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is Linux's USER_HZ, in which /proc counts CPU time.
const ticksPerSecond = 100

// cpuOfServer gives the CPU time of the process that listens on a Unix socket,
// which the kernel tells those who connect. Where it does not, the time is 0.
func cpuOfServer(ctx context.Context, socket string) func() time.Duration {
	pid := 0
	// A device takes one front-end at a time. Ours has it: this waits in the
	// backlog, and leaves.
	if c, err := new(net.Dialer).DialContext(ctx, "unix", socket); err == nil {
		if raw, err := c.(*net.UnixConn).SyscallConn(); err == nil { //nolint:forcetypeassert // network unix
			_ = raw.Control(func(fd uintptr) {
				if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
					pid = int(cred.Pid)
				}
			})
		}
		_ = c.Close()
	}
	return func() time.Duration { return cpuOf(pid) }
}

// cpuOf reads a process's CPU time from /proc/PID/stat, fields 14 and 15.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, field 2, is in brackets and may have any bytes in it.
	_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return time.Duration(user+system) * time.Second / ticksPerSecond
}
