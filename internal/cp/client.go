package cp

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Progress gets what is copied: Begin once its size is known, and then each part.
type Progress interface {
	Begin(size uint64)
	Add(n int)
}

// Done is a copy that was made.
type Done struct {
	Size   uint64
	SHA256 []byte
}

// Send sends a file of this machine to a name of the server's.
func Send(conn io.ReadWriter, path, name string, p Progress) (Done, error) {
	f, err := os.Open(path)
	if err != nil {
		return Done{}, err
	}
	defer func() { _ = f.Close() }()
	i, err := f.Stat()
	if err != nil {
		return Done{}, err
	}
	if !i.Mode().IsRegular() {
		return Done{}, fmt.Errorf("cp: %s is no regular file; tar c %s | vsock connect sends what is none", path, path)
	}
	size := uint64(i.Size())
	if err := (request{Put, uint16(i.Mode().Perm()), size, name}).write(conn); err != nil {
		return Done{}, err
	}
	if _, err := readReply(conn); err != nil {
		return Done{}, err
	}
	p.Begin(size)
	sum, err := send(conn, &counted{f, p}, size)
	if err != nil {
		// The server may have said why it takes no more.
		var remote *RemoteError
		if _, rerr := readReply(conn); errors.As(rerr, &remote) {
			return Done{}, rerr
		}
		return Done{}, err
	}
	if _, err := readReply(conn); err != nil {
		return Done{}, err
	}
	return Done{size, sum}, nil
}

// Receive gets a file of the server's. If path is a folder, the file has its own name
// in there.
func Receive(conn io.ReadWriter, name, path string, p Progress) (_ Done, err error) {
	if i, err := os.Stat(path); err == nil && i.IsDir() {
		path = filepath.Join(path, filepath.Base(filepath.FromSlash(name)))
	}
	if err := (request{Op: Get, Name: name}).write(conn); err != nil {
		return Done{}, err
	}
	r, err := readReply(conn)
	if err != nil {
		return Done{}, err
	}
	p.Begin(r.Size)
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return Done{}, err
	}
	defer func() { _ = root.Close() }()
	sum, err := receiveFile(root, filepath.Base(path), &counted{conn, p}, r.Size, fs.FileMode(r.Mode))
	if err != nil {
		return Done{}, err
	}
	return Done{r.Size, sum}, (reply{}).write(conn)
}

// receiveFile takes a file, under another name until it is complete.
func receiveFile(root *os.Root, name string, from io.Reader, size uint64, mode fs.FileMode) (_ []byte, err error) {
	var random [6]byte
	_, _ = rand.Read(random[:])
	temp := filepath.Join(filepath.Dir(name), ".vsock-cp-"+hex.EncodeToString(random[:]))
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = root.Remove(temp)
		}
	}()
	sum, err := receive(f, from, size)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return sum, root.Rename(temp, name)
}

// counted tells a Progress what is read.
type counted struct {
	io.Reader
	p Progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.Add(n)
	return n, err
}
