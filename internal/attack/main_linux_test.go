//go:build !race

// The race detector's runtime does not survive the faults that some attacks make, and
// would be what is measured. make test runs this package without it.

package attack

import (
	"os"
	"testing"

	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		os.Exit(victimMain(dir))
	}
	leaktest.Main(m)
}
