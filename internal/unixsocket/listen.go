//go:build unix

package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxSocketPath is the longest path of a Unix socket, sun_path less its final zero.
const maxSocketPath = 107

// privateMode is that of a socket for its owner only.
const privateMode fs.FileMode = 0o600

// Listener listens on a path that it made, and removes it in the end.
type Listener struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

// Listen makes a socket that only this user may connect to. A socket that a former
// process left behind is replaced, anything else is not touched: one that is served
// is syscall.EADDRINUSE.
func Listen(path string) (*Listener, error) { return listen(path, privateMode) }

// ListenForAll makes one that everyone may connect to: who does is to be asked for
// the credentials of the peer.
func ListenForAll(path string) (*Listener, error) { return listen(path, 0o666) }

func listen(path string, mode fs.FileMode) (*Listener, error) {
	switch {
	case path == "":
		return nil, errors.New("no socket path is given")
	case path[0] == '@':
		return nil, fmt.Errorf("socket %s would be an abstract one, which everyone may connect to; give the path of a file, or ./%[1]s if it is one", path)
	case len(path) > maxSocketPath:
		return nil, fmt.Errorf("socket path %s has %d bytes, and a Unix socket's at most %d; choose a shorter one", path, len(path), maxSocketPath)
	}
	folder, _ := filepath.Split(path)
	if err := checkFolder(folder); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	l, made, err := private(path)
	if err == nil && mode != privateMode {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		if l != nil {
			_ = l.Close()
			_ = os.Remove(path)
		}
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return &Listener{UnixListener: l, path: path, made: made}, nil
}

// Close ends Accept and removes the socket, if it is still the one that was made.
func (s *Listener) Close() error {
	err := s.UnixListener.Close()
	if now, serr := os.Lstat(s.path); serr == nil && os.SameFile(now, s.made) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
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
