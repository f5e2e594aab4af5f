package initramfs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is what unpack finds.
type entry struct {
	Name, Content string
	Mode          uint64
}

// unpack reads an archive as the kernel does: each entry from the sizes that
// its header gives.
func unpack(t *testing.T, b []byte) []entry {
	t.Helper()
	var entries []entry
	inodes := make(map[uint64]bool)
	for at := 0; ; {
		if len(b)-at < 110 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no header at %d of %d bytes", at, len(b))
		}
		field := func(i int) uint64 {
			v, err := strconv.ParseUint(string(b[at+6+8*i:][:8]), 16, 32)
			if err != nil {
				t.Fatalf("field %d of the header at %d: %v", i, at, err)
			}
			return v
		}
		size, nameSize := int(field(6)), int(field(11))
		name := string(b[at+110 : at+110+nameSize-1])
		content := (at + 110 + nameSize + 3) &^ 3
		if name == trailer {
			if content != len(b) {
				t.Errorf("the archive has %d bytes, and its trailer ends at %d", len(b), content)
			}
			return entries
		}
		if inodes[field(0)] {
			t.Errorf("%s has the inode of another entry", name)
		}
		inodes[field(0)] = true
		entries = append(entries, entry{name, string(b[content : content+size]), field(1)})
		at = (content + size + 3) &^ 3
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	program, odd := filepath.Join(dir, "program"), filepath.Join(dir, "odd")
	if err := os.WriteFile(program, []byte("x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(odd, []byte("seven b"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := New(&b)
	for _, err := range []error{
		w.Folder("/tmp", 0o1777),
		w.File("/init", program),
		w.File("/a/b/odd", odd),
		w.Folder("/a/b", 0o700),
		w.File("/../a//c/../odd", odd),
		w.File("/tmp/odd", odd),
		w.Close(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []entry{
		{"tmp", "", 0o041777},
		{"init", "x", 0o100700},
		{"a", "", 0o040755},
		{"a/b", "", 0o040755},
		{"a/b/odd", "seven b", 0o100600},
		{"a/odd", "seven b", 0o100600},
		{"tmp/odd", "seven b", 0o100600},
	}
	if d := cmp.Diff(want, unpack(t, b.Bytes())); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	w := New(io.Discard)
	tests := []struct {
		name  string
		err   error
		is    error
		holds string
	}{
		{"no such file", w.File("/x", filepath.Join(dir, "none")), os.ErrNotExist, "none"},
		{"a folder for a file", w.File("/x", dir), nil, "not a plain file"},
		{"a relative file", w.File("x", dir), nil, "absolute"},
		{"a relative folder", w.Folder("x", 0o755), nil, "absolute"},
		{"a full disk", New(fullDisk{}).Folder("/x", 0o755), errFull, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil || tt.is != nil && !errors.Is(tt.err, tt.is) || !strings.Contains(tt.err.Error(), tt.holds) {
				t.Errorf("error %v, want %v with %q in its text", tt.err, tt.is, tt.holds)
			}
		})
	}
}

var errFull = errors.New("full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }
