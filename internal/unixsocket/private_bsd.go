//go:build unix && !linux

package unixsocket

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
)

// private listens on a path, with a socket that is for its owner only. It is made under
// another name and renamed: under its own it never has other permissions.
func private(path string) (l *net.UnixListener, made os.FileInfo, err error) {
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".v%08x", rand.Uint32()))
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"}); err != nil {
		return nil, nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(temp, privateMode); err == nil {
		if made, err = os.Lstat(temp); err == nil {
			err = os.Rename(temp, path)
		}
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(temp)
		return nil, nil, err
	}
	return l, made, nil
}
