//go:build unix

package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links may be on the way to a folder, as in Linux.
const maxLinks = 40

// checkFolder refuses a folder in which others could put a socket of theirs in place
// of ours: one that they can write, and one that they can swap for another because of
// what is on the way to it.
//
// A sticky folder, such as /tmp, is refused too: nobody removes our socket there, but
// whoever makes one of that name before we do, or after we have ended, gets our clients.
// On the way it is good enough, since the next folder is there and is ours.
func checkFolder(dir string) error {
	if !filepath.IsAbs(dir) {
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		dir = wd + "/" + dir // not cleaned: what ".." leads to is up to links
	}
	if clean := strings.TrimRight(dir, "/"); clean != "" {
		dir = clean
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("folder %s does not exist; create it, for this user only", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	}
	owners, err := trusted()
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.Perm()&othersWrite != 0 {
		return fmt.Errorf("folder %s can be written by others (mode %v); use a private one, or chmod go-w it", dir, mode)
	}
	if id, ok := owners.of(info); !ok || id != 0 && id != os.Geteuid() {
		return fmt.Errorf("folder %s belongs to user %d; use one of your own", dir, id)
	}
	return owners.checkWay(dir)
}

// othersWrite are the permissions of a folder's group and of everyone to write it.
const othersWrite fs.FileMode = 0o022

// owners are the users who may own what is on the way to a folder.
type owners map[int]bool

// trusted are root, this user, and the owner of /, who can swap everything. That is root;
// in a user namespace to which root does not belong it is the user that stands for all
// who do not.
func trusted() (owners, error) {
	o := owners{0: true, os.Geteuid(): true}
	root, err := os.Stat("/")
	if err != nil {
		return nil, err
	}
	id, _ := o.of(root)
	o[id] = true
	return o, nil
}

// of tells the owner of a file, and whether that is one of these.
func (o owners) of(info os.FileInfo) (id int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, false
	}
	return int(st.Uid), o[int(st.Uid)]
}

// checkWay looks at each folder and each link on the way to a folder.
func (o owners) checkWay(dir string) error {
	at, rest, links := "/", strings.Split(dir, "/"), 0
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		mode := info.Mode()
		if id, ok := o.of(info); !ok {
			return fmt.Errorf("%s, on the way to folder %s, belongs to user %d, who can swap what is behind it; use a folder that only root and you can move", at, dir, id)
		}
		switch {
		case mode&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return fmt.Errorf("folder %s: %w", dir, syscall.ELOOP)
			}
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			rest = append(strings.Split(to, "/"), rest...)
			at = filepath.Dir(at)
			if filepath.IsAbs(to) {
				at = "/"
			}
		case mode.Perm()&othersWrite != 0 && mode&fs.ModeSticky == 0:
			return fmt.Errorf("%s, on the way to folder %s, can be written by others (mode %v); chmod go-w it, or use another folder", at, dir, mode)
		}
		if len(rest) == 0 {
			return nil
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:] // "" and "." stay, ".." goes up
	}
}
