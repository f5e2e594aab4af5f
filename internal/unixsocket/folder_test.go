//go:build unix

package unixsocket

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// stranger is a user who runs no test.
const stranger = 54321

// TestFolders tries folders in which others could swap a socket, and ways to a folder.
// $ stands for a private folder.
func TestFolders(t *testing.T) {
	for _, tc := range []struct {
		name string
		tree string // what make makes
		dir  string
		want string // in the error; empty: none
	}{
		{"private", "", "$", ""},
		{"others read", "a=755", "$/a", ""},
		{"others write", "a=707", "$/a", "can be written by others"},
		{"the group writes", "a=770", "$/a", "chmod go-w"},
		{"sticky", "a=1777", "$/a", "can be written by others"},
		{"another user's", "a=755 a:stranger", "$/a", "belongs to user 54321"},
		{"none", "", "$/none", "create it"},

		{"below one that others write", "a=777 a/b=700", "$/a/b", "$/a, on the way to"},
		{"below one that the group writes", "a=775 a/b=700", "$/a/b", "chmod go-w"},
		{"far below it", "a=777 a/b=700 a/b/c=700", "$/a/b/c", "$/a, on the way to"},
		{"below a sticky one", "a=1777 a/b=700", "$/a/b", ""},
		{"below another user's", "a=755 a/b=700 a:stranger", "$/a/b", "$/a, on the way to"},
		{"below another user's in a sticky one", "a=1777 a/b=755 a/b/c=700 a/b:stranger", "$/a/b/c", "$/a/b, on the way to"},
		{"down and up", "a=777 a/b=700", "$/a/b/../..", "$/a, on the way to"},
		{"slashes and points", "", "$//./", ""},

		{"by a link", "a=700 l>a", "$/l", ""},
		{"by two links", "a=700 l>m m>$/a", "$/l", ""},
		{"by a link to one that others write", "a=777 l>a", "$/l", "can be written"},
		{"by a link in one that others write", "a=777 b=700 a/l>../b", "$/a/l", "$/a, on the way to"},
		{"by another user's link in a sticky one", "a=1777 b=700 a/l>$/b a/l:stranger", "$/a/l", "$/a/l, on the way to"},
		{"by a link through one that others write", "a=777 a/b=700 l>$/a/b", "$/l", "$/a, on the way to"},
		{"by a link that leads up", "a=777 a/b=700 c=700 c/l>../a/b", "$/c/l", "$/a, on the way to"},
		{"up from where a link leads", "a=777 a/b=700 l>a/b", "$/l/..", "can be written"},
		{"by a circle", "l>l", "$/l", "too many"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			makeTree(t, dir, tc.tree)
			at := strings.ReplaceAll(tc.dir, "$", dir) + "/s"
			want := strings.ReplaceAll(tc.want, "$", dir)
			l, err := Listen(at)
			if err == nil {
				defer l.Close()
			}
			switch {
			case want == "" && err != nil:
				t.Error(err)
			case want != "" && err == nil:
				t.Error("it listens")
			case want != "" && !strings.Contains(err.Error(), want):
				t.Errorf("%q does not contain %q", err, want)
			}
			if _, serr := os.Lstat(at); (serr == nil) != (want == "") {
				t.Errorf("the socket's file: %v", serr)
			}
		})
	}
}

// makeTree makes, in their order, folders (name=mode), links (name>target, where $ stands for
// dir), and what belongs to somebody else (name:stranger).
func makeTree(t *testing.T, dir, tree string) {
	t.Helper()
	for item := range strings.FieldsSeq(tree) {
		i := strings.IndexAny(item, "=>:")
		path, value := filepath.Join(dir, item[:i]), item[i+1:]
		var err error
		switch item[i] {
		case '=':
			var mode uint64
			if mode, err = strconv.ParseUint(value, 8, 32); err == nil {
				if err = os.Mkdir(path, 0o700); err == nil {
					err = syscall.Chmod(path, uint32(mode)) // past the umask
				}
			}
		case '>':
			err = os.Symlink(strings.ReplaceAll(value, "$", dir), path)
		case ':':
			if os.Geteuid() != 0 {
				t.Skip("only root gives files to somebody else")
			}
			err = os.Lchown(path, stranger, stranger)
		}
		if err != nil {
			t.Fatalf("%s: %v", item, err)
		}
	}
}

// TestRelative checks the folder that a relative path is in.
func TestRelative(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, "a=777 a/b=700 c=700")
	for _, tc := range []struct{ wd, path, want string }{
		{"c", "s", ""},
		{"c", "../c/s", ""},
		{"c", "./@s", ""}, // a file, and not an abstract socket
		{"c", "../a/s", "can be written"},
		{"a", "s", "can be written"},
		{"a/b", "./s", "on the way to"},
	} {
		t.Run(tc.wd+" "+tc.path, func(t *testing.T) {
			t.Chdir(filepath.Join(dir, tc.wd))
			l, err := Listen(tc.path)
			switch {
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %q", err, tc.want)
			case tc.want == "" && err != nil:
				t.Error(err)
			}
			if err == nil {
				if _, err := os.Lstat(tc.path); err != nil {
					t.Error(err)
				}
				_ = l.Close()
			}
		})
	}
}
