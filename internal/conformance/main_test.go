package conformance

import (
	"os"
	"testing"

	"vsockets.dev/internal/leaktest"
)

// buildDir is where programs for guests are built.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "conformance-test-")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	leaktest.Main(m, func() { _ = os.RemoveAll(dir) })
}
