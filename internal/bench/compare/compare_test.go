package compare

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
)

// endVariable makes the test binary a child.
const endVariable = "VSOCKETS_BENCH_END"

func TestMain(m *testing.M) {
	if os.Getenv(endVariable) != "" {
		if ServeEnd(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		return
	}
	leaktest.Main(m)
}

func testChild(t *testing.T) childFunc {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), endVariable+"=1")
		return cmd
	}
}

func TestTransports(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			rep, err := Run(t.Context(), Config{
				Transports: []string{name}, Rounds: 1, Time: 20 * time.Millisecond, Child: testChild(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			e := rep.Entries[0]
			if e.Error != "" {
				t.Fatal(e.Error)
			}
			for _, m := range metrics() {
				if _, ok := e.Summary[m.name]; !ok && name != limitName {
					t.Errorf("no %s", m.title)
				}
			}
		})
	}
}
