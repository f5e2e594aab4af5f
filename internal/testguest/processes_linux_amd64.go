package testguest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// told are the lines of a process's status that tell what it waits for, and which
// signals wait for it.
var told = []string{"Name", "Pid", "State", "SigPnd", "ShdPnd", "SigBlk", "voluntary_ctxt_switches"}

// processes tells what the processes of a group do, and their timers: what a guest hangs
// on may be its machine's, as an interrupt that was lost is. It says nothing to the
// processes, since that would wake them.
func processes(group int) string {
	var all strings.Builder
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil || groupOf(string(stat)) != group {
			continue // it has ended, or is somebody else's
		}
		dir := filepath.Dir(path)
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		for line := range strings.Lines(string(status)) {
			for _, name := range told {
				if value, ok := strings.CutPrefix(line, name+":"); ok {
					fmt.Fprintf(&all, "%s %s; ", name, strings.TrimSpace(value))
				}
			}
		}
		wchan, _ := os.ReadFile(filepath.Join(dir, "wchan"))
		timers, _ := os.ReadFile(filepath.Join(dir, "timers"))
		fmt.Fprintf(&all, "waits in %s; timers %q\n", wchan, timers)
	}
	return strings.TrimSpace(all.String())
}

// groupOf gives the process group in a line of /proc/PID/stat, see proc_pid_stat(5). The
// name before it, in brackets, can hold anything.
func groupOf(stat string) int {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 3 {
		return 0
	}
	id, _ := strconv.Atoi(fields[2])
	return id
}
