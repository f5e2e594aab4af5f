// Package initramfs writes the archive that a Linux kernel unpacks as its first
// root: cpio in its "newc" form, Documentation/driver-api/early-userspace/buffer-format.rst
// of the kernel.
//
// It writes folders and plain files and no more, which is why it is our own: a
// module that all users of vsockets would have to fetch too would be the longer code.
package initramfs

import (
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
)

// Mode bits of the archive, which are those of stat(2).
const (
	typeFolder = 0o040000
	typeFile   = 0o100000
)

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// align is what names and contents are padded to.
const align = 4

// Writer writes an archive. Files may come in any order.
type Writer struct {
	w       io.Writer
	written int64
	inode   int
	folders map[string]bool
}

// New makes a Writer. What it writes is complete after Close.
func New(w io.Writer) *Writer {
	return &Writer{w: w, folders: make(map[string]bool)}
}

// Folder adds a folder with the permissions perm, as chmod takes them, and those
// that it lies in. One that is there already stays as it is.
func (w *Writer) Folder(name string, perm uint32) error {
	name, err := clean(name)
	if err != nil || name == "" || w.folders[name] {
		return err
	}
	if err := w.Folder("/"+path.Dir(name), 0o755); err != nil {
		return err
	}
	w.folders[name] = true
	return w.header(name, typeFolder|perm, 0)
}

// File adds a copy of the file from, with its permissions.
func (w *Writer) File(name, from string) error {
	name, err := clean(name)
	if err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a plain file", from)
	case info.Size() > math.MaxUint32:
		return fmt.Errorf("%s has %d bytes, too many for the archive", from, info.Size())
	}
	if err := w.Folder("/"+path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := w.header(name, typeFile|uint32(info.Mode().Perm()), info.Size()); err != nil {
		return err
	}
	n, err := io.CopyN(w.w, f, info.Size())
	w.written += n
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return w.pad()
}

// Close ends the archive. It does not close what the archive is written to.
func (w *Writer) Close() error { return w.header(trailer, 0, 0) }

// clean gives an absolute path in the form that the archive has it in, relative to
// the root, which is "".
func clean(name string) (string, error) {
	if !path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q is not an absolute path", name)
	}
	return strings.TrimPrefix(path.Clean(name), "/"), nil
}

// header writes what stands before an entry's contents: 13 numbers, and its name.
func (w *Writer) header(name string, mode uint32, size int64) error {
	w.inode++ // one each, or the kernel would take files for links to one another
	const noTime, noDevice, noChecksum = 0, 0, 0
	n, err := fmt.Fprintf(w.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		w.inode, mode, 0, 0, 1, noTime, size, noDevice, noDevice, noDevice, noDevice, len(name)+1, noChecksum, name)
	w.written += int64(n)
	if err != nil {
		return err
	}
	return w.pad()
}

func (w *Writer) pad() error {
	n, err := w.w.Write(make([]byte, (align-w.written%align)%align))
	w.written += int64(n)
	return err
}
