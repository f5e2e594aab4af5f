package switchd

import (
	"fmt"
	"os"
	"testing"

	"vsockets.dev/internal/leaktest"
)

// childVar has this program be a switch: its value is the configuration file.
const childVar = "VSOCKETS_SWITCHD_CHILD"

func TestMain(m *testing.M) {
	if file := os.Getenv(childVar); file != "" {
		if err := serveChild(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	leaktest.Main(m)
}
