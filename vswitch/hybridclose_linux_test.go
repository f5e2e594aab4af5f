package vswitch

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestHybridClosedAtOnce closes a guest whose hybrid socket is not even served yet. When
// Close returns, that has gone: the process may end then.
func TestHybridClosedAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that its goroutine comes late
	sw := New(Config{})
	defer sw.Close()
	dir := t.TempDir()
	for range 100 {
		g, err := sw.AddGuest(GuestConfig{CID: 3, Socket: filepath.Join(dir, "s"), Hybrid: filepath.Join(dir, "h")})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
			t.Fatalf("left: %v, %v", left, err)
		}
	}
}
