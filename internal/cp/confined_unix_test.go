//go:build unix

package cp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestConfined has no name lead out of the folder.
func TestConfined(t *testing.T) {
	b := serveDir(t, Server{})
	outside := t.TempDir()
	secret := write(t, filepath.Join(outside, "secret"), []byte("secret"))
	for name, target := range map[string]string{"out": outside, "file": secret, "relative": "../" + filepath.Base(outside)} {
		if err := os.Symlink(target, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(b.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b.dir, "in"), []byte("inside"))
	from := write(t, filepath.Join(t.TempDir(), "from"), []byte("new"))
	for _, name := range []string{
		"out/secret", "file", "relative/secret", "../" + filepath.Base(outside) + "/secret", secret,
		"pipe", ".", "/", "..", "none/x", "in/x", "a/", ".vsock-cp-x", "out/../../x/secret",
	} {
		to := filepath.Join(t.TempDir(), "to")
		var remote *RemoteError
		if _, err := Receive(b.dial(), name, to, new(total)); !errors.As(err, &remote) {
			t.Errorf("get %s: %v", name, err)
		} else if strings.Contains(remote.Text, b.dir) {
			t.Errorf("get %s tells where the folder is: %v", name, err)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("get %s leaves a file", name)
		}
		if name == "file" || name == secret || strings.HasPrefix(name, "..") { // names of files below the folder, or a link that is replaced
			continue
		}
		if _, err := Send(b.dial(), from, name, new(total)); !errors.As(err, &remote) {
			t.Errorf("put %s: %v", name, err)
		}
	}
	same(t, secret, []byte("secret"))
	if left, _ := os.ReadDir(outside); len(left) != 1 {
		t.Errorf("outside there is %v", left)
	}
}
