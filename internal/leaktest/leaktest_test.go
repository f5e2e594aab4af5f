package leaktest

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestFindsOpenFile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are known on Linux only")
	}
	before := openFiles()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	left := leftOpen(before, openFiles())
	_ = f.Close()
	if len(left) != 1 || !strings.HasSuffix(left[0], os.DevNull) {
		t.Errorf("left open: %q", left)
	}
	if left := leftOpen(before, openFiles()); len(left) != 0 {
		t.Errorf("left open after close: %q", left)
	}
}
