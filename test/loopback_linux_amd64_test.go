package test

import (
	"testing"
	"time"

	"vsockets.dev/internal/bench/compare"
	"vsockets.dev/internal/testguest"
)

// TestLoopback has both APIs measured in a guest, each by every measurement that
// vsock bench guest makes. How fast they are is not a test's business.
func TestLoopback(t *testing.T) {
	testguest.Require(t)
	init, err := initProgram()
	if err != nil {
		t.Fatal(err)
	}
	program, err := testguest.Build(t.Context(), buildDir, "vsockets.dev/test/loopback")
	if err != nil {
		t.Fatal(err)
	}
	c := compare.GuestConfig{Rounds: 1, Time: 20 * time.Millisecond, Loopback: program}
	paths, err := c.RunLoopback(t.Context(), testguest.UML, init)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 2 || paths[0].Name != compare.OurAPI || paths[1].Name != compare.OtherAPI {
		t.Fatalf("%+v", paths)
	}
	for _, p := range paths {
		if len(p.Failures) > 0 || p.Restarts > 0 || len(p.Values) != 8 {
			t.Errorf("%s: %d measurements of 8, %d restarts, %q", p.Name, len(p.Values), p.Restarts, p.Failures)
		}
	}
}
