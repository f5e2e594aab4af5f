package leaktest

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// MainSplicing is Main for a package that has net splice connections.
func MainSplicing(m *testing.M) {
	before := pipes()
	Main(m, func() { dropPipes(before) })
}

// dropPipes has package net close the pipes that it keeps for splicing, which it
// does when the garbage collector finds them.
func dropPipes(until int) {
	for give := time.Now().Add(5 * time.Second); pipes() > until && time.Now().Before(give); {
		runtime.GC()
	}
}

// pipes counts the open ends of pipes.
func pipes() int {
	n := 0
	files, _ := filepath.Glob("/proc/self/fd/*")
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}
