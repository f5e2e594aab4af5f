package unixsocket

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrivateAtOnce holds a socket to be private from its first moment on, whatever the
// umask: its file comes once, under its own name, and its mode is not changed then.
func TestPrivateAtOnce(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		t.Run(fmt.Sprintf("%03o", umask), func(t *testing.T) {
			old := unix.Umask(umask)
			t.Cleanup(func() { unix.Umask(old) })
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(watch)
			if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE|unix.IN_ATTRIB|unix.IN_MOVE); err != nil {
				t.Fatal(err)
			}
			l, err := Listen(filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			info, err := os.Lstat(filepath.Join(dir, "s"))
			if err != nil || info.Mode() != os.ModeSocket|privateMode {
				t.Errorf("%v, %v", info, err)
			}
			var events []uint32
			b := make([]byte, 4096)
			n, err := unix.Read(watch, b)
			if err != nil {
				t.Fatal(err)
			}
			for b = b[:n]; len(b) > 0; { // struct inotify_event: inotify(7)
				events = append(events, binary.NativeEndian.Uint32(b[4:]))
				b = b[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(b[12:]):]
			}
			if len(events) != 1 || events[0] != unix.IN_CREATE {
				t.Errorf("events %#x, want one file's creation", events)
			}
		})
	}
}

// TestModes gives everyone a socket that is for everyone, and the owner one that an umask
// would keep from the owner.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name   string
		listen func(string) (*Listener, error)
		umask  int
		want   os.FileMode
	}{
		{"all", ListenForAll, 0o077, 0o666},
		{"owner", Listen, 0o777, 0o600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old := unix.Umask(tc.umask)
			t.Cleanup(func() { unix.Umask(old) })
			path := filepath.Join(dir, tc.name)
			l, err := tc.listen(path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != tc.want {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}
