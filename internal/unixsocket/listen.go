//go:build unix

package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is the longest path of a Unix socket, sun_path less its final zero.
const maxSocketPath = 107

// Listener listens on a path that it made, and removes it in the end.
type Listener struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

// Listen makes a socket that only this user may connect to. A socket that a former
// process left behind is replaced, anything else is not touched: one that is served
// is syscall.EADDRINUSE.
func Listen(path string) (*Listener, error) { return listen(path, 0o600) }

// ListenForAll makes one that everyone may connect to: who does is to be asked for
// the credentials of the peer.
func ListenForAll(path string) (*Listener, error) { return listen(path, 0o666) }

func listen(path string, mode fs.FileMode) (*Listener, error) {
	switch {
	case path == "":
		return nil, errors.New("no socket path is given")
	case len(path) > maxSocketPath:
		return nil, fmt.Errorf("socket path %s has %d bytes, and a Unix socket's at most %d; choose a shorter one", path, len(path), maxSocketPath)
	}
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}

	// Made under another name and renamed, it is never there with other permissions.
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".v%08x", rand.Uint32()))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	info, err := publish(temp, path, mode)
	if err != nil {
		_ = l.Close()
		_ = os.Remove(temp)
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return &Listener{UnixListener: l, path: path, made: info}, nil
}

func publish(temp, path string, mode fs.FileMode) (os.FileInfo, error) {
	if err := os.Chmod(temp, mode); err != nil {
		return nil, err
	}
	info, err := os.Lstat(temp)
	if err != nil {
		return nil, err
	}
	return info, os.Rename(temp, path)
}

// Close ends Accept and removes the socket, if it is still the one that was made.
func (s *Listener) Close() error {
	err := s.UnixListener.Close()
	if now, serr := os.Lstat(s.path); serr == nil && os.SameFile(now, s.made) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// checkFolder refuses a folder in which others could put their own socket in
// place of ours.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder %s does not exist; create it, for this user only", dir)
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("folder %s belongs to user %d; use one of your own", dir, st.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("folder %s can be written by others (mode %v); use a private one, or chmod go-w it", dir, info.Mode().Perm())
	}
	return nil
}

// clearStale removes a socket of ours that nobody serves any more.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket; remove it or choose another path", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("socket %s belongs to another user; choose another path", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("socket %s is served by another process; stop that or choose another path: %w", path, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s exists, and whether it is in use cannot be told: %w", path, err)
	}
	return os.Remove(path)
}
