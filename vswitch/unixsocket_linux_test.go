package vswitch

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGuestSocket(t *testing.T) {
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
		{"too long", path(strings.Repeat("x", 100)), []string{"at most 107"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sw := New(Config{})
			defer sw.Close()
			_, err := sw.AddGuest(GuestConfig{CID: 3, Socket: tc.socket})
			if err == nil {
				t.Fatal("it succeeded")
			}
			for _, want := range append(tc.want, "guest 3") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not contain %q", err, want)
				}
			}
			// The CID is not taken by what failed.
			if _, err := sw.AddGuest(GuestConfig{CID: 3, Socket: path("ok")}); err != nil {
				t.Error(err)
			}
		})
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

func TestGuestSocketStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // as a process that was killed leaves it

	sw := New(Config{})
	defer sw.Close()
	g, err := sw.AddGuest(GuestConfig{CID: 3, Socket: path})
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
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after Close: %v", err)
	}
	if err := g.Close(); err == nil {
		t.Error("closed twice without an error")
	}
}

// TestGuestSocketReplaced leaves a socket alone that has taken our path.
func TestGuestSocketReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sw := New(Config{})
	g, err := sw.AddGuest(GuestConfig{CID: 3, Socket: path})
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
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket: %v", err)
	}
	_ = sw.Close()
}

// TestNotVhostUser has a client that speaks something else.
func TestNotVhostUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	sw := New(Config{})
	defer sw.Close()
	if _, err := sw.AddGuest(GuestConfig{CID: 3, Socket: path}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("CONNECT 1024\n and more than a header")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("answered with %d bytes, %v", n, err)
	}
	a, err := net.Dial("unix", path) // the socket serves on
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
}
