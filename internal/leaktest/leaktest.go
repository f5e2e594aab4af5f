// Package leaktest fails the tests of a package that leave goroutines or open
// files behind.
package leaktest

import (
	"fmt"
	"os"
	"sort"
	"testing"

	"go.uber.org/goleak"
)

// Main is what TestMain calls. After the tests it runs the cleanups.
func Main(m *testing.M, cleanup ...func()) {
	startPoller()
	before := openFiles()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		for _, f := range cleanup {
			f()
		}
		if left := leftOpen(before, openFiles()); status == 0 && len(left) > 0 {
			fmt.Fprintf(os.Stderr, "leaktest: files left open:\n")
			for _, f := range left {
				fmt.Fprintf(os.Stderr, "\t%s\n", f)
			}
			status = 1
		}
		os.Exit(status)
	}))
}

// startPoller makes the runtime open the files of its poller, so that they do not
// count as left open.
func startPoller() {
	if r, w, err := os.Pipe(); err == nil {
		_ = r.Close()
		_ = w.Close()
	}
}

// openFiles are this process's open files by number, where the system tells.
func openFiles() map[string]string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	files := make(map[string]string)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[e.Name()] = target // the folder itself is closed by now, and left out
		}
	}
	return files
}

func leftOpen(before, after map[string]string) []string {
	var left []string
	for fd, target := range after {
		if before[fd] != target {
			left = append(left, fd+" -> "+target)
		}
	}
	sort.Strings(left)
	return left
}
