package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vsockets.dev/internal/leaktest"
	"vsockets.dev/internal/testguest"
)

func TestMain(m *testing.M) {
	if stack := os.Getenv(EnvChild); stack != "" {
		if err := Child(stack); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	leaktest.Main(m)
}

// TestSoak is a short one.
func TestSoak(t *testing.T) {
	testguest.Require(t)
	c := Config{Duration: 10 * time.Second, Seed: 1, Machines: []testguest.Machine{testguest.UML}, Log: t.Output()}
	var err error
	if c.Dir, err = os.MkdirTemp("", "soak"); err != nil { //nolint:usetesting // its path is short, as sockets want it
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(c.Dir) })
	if c.Tool, err = testguest.Build(t.Context(), c.Dir, "vsockets.dev/cmd/vsock"); err != nil {
		t.Fatal(err)
	}
	if c.Init, err = testguest.Build(t.Context(), c.Dir, "vsockets.dev/internal/guestpeer/guestinit"); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.WriteText(t.Output()); err != nil {
		t.Error(err)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
	for _, what := range tasks {
		if r.Connections[what.name] == 0 {
			t.Errorf("no connection was to %s", what.name)
		}
	}
	if r.Bytes == 0 || len(r.Faults) == 0 || len(r.Samples) < 3 {
		t.Errorf("%d bytes, faults %v, %d samples", r.Bytes, r.Faults, len(r.Samples))
	}
	if t.Failed() {
		log, _ := os.ReadFile(filepath.Join(c.Dir, LogName))
		t.Logf("the log of all processes:\n%s", log)
	}
}
