//go:build unix

package unixsocket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(path("file"), []byte("precious"), 0o600))
	must(os.Mkdir(path("folder"), 0o700))
	must(os.Mkdir(path("open"), 0o700))
	must(os.Chmod(path("open"), 0o777)) // past the umask
	live, err := net.Listen("unix", path("live"))
	must(err)
	defer live.Close()
	must(os.Symlink(path("live"), path("link")))

	for _, tc := range []struct {
		name   string
		socket string
		want   []string
	}{
		{"none", "", []string{"no socket path"}},
		{"no folder", path("none/s"), []string{path("none"), "does not exist", "create it"}},
		{"a file for a folder", path("file/s"), []string{path("file"), "not a folder"}},
		{"a folder that others write", path("open/s"), []string{path("open"), "chmod go-w"}},
		{"a file", path("file"), []string{path("file"), "not a socket", "choose another path"}},
		{"a folder", path("folder"), []string{path("folder"), "not a socket"}},
		{"a link", path("link"), []string{path("link"), "not a socket"}},
		{"another's socket", path("live"), []string{path("live"), "served by another process", "choose another path"}},
		{"abstract", "@s", []string{"abstract", "./@s"}},
		{"too long", path(strings.Repeat("x", 100)), []string{"at most 107"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := Listen(tc.socket)
			if err == nil {
				_ = l.Close()
				t.Fatal("it succeeded")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not contain %q", err, want)
				}
			}
		})
	}
	if _, err := Listen(path("live")); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another's socket: %v, want EADDRINUSE", err)
	}
	if b, err := os.ReadFile(path("file")); string(b) != "precious" || err != nil {
		t.Errorf("the file has changed: %q, %v", b, err)
	}
	left, err := os.ReadDir(dir)
	must(err)
	if len(left) != 5 {
		t.Errorf("files: %v", left)
	}
}

func TestStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	_ = old.Close() // as a process that was killed leaves it

	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err == nil {
		t.Error("closed twice without an error")
	}
}

// TestReplaced leaves a socket alone that has taken our path.
func TestReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket: %v", err)
	}
}
