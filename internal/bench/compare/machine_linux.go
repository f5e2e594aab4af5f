package compare

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func kernelAndCPU() (kernel, cpu string) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	info, _ := os.ReadFile("/proc/cpuinfo") // without it there is no name
	for line := range strings.Lines(string(info)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return kernel, strings.TrimSpace(v)
		}
	}
	return kernel, ""
}

// busy remembers how busy the machine and this process were when it was made.
type busy struct {
	at       time.Time
	all, own time.Duration
	ok       bool
}

func startBusy() busy {
	all, ok := busyTime()
	return busy{time.Now(), all, ownTime(), ok}
}

// others is how many cores have been busy since with anything but this process and
// its children, of which those count that have ended.
func (b busy) others() float64 {
	all, ok := busyTime()
	if !b.ok || !ok {
		return -1
	}
	return max(0, (all-b.all-(ownTime()-b.own)).Seconds()/time.Since(b.at).Seconds())
}

func ownTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// busyTime is the CPU time of all cores that was not idle: /proc/stat, first line:
// user nice system idle iowait irq softirq steal. Steal is a neighbour's, and
// counts: it is lost to us.
func busyTime() (time.Duration, bool) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, false
	}
	var ticks int64
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, false
		}
		if i != 3 && i != 4 {
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, true
}
