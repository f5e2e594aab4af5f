package supervise

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// TestRefusesForeignFolder: the variable alone must not get a folder removed.
func TestRefusesForeignFolder(t *testing.T) {
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.Mkdir(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "true")
	cmd.Env = append(os.Environ(), EnvDir+"="+precious)
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("not a guest's folder")) {
		t.Errorf("%v, output %q", err, out)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
