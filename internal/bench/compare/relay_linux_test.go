package compare

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vsockets.dev"
	"vsockets.dev/internal/bench"
	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

// forwardVariable makes the test binary a relay. It stands for vsock forward.
const forwardVariable = "VSOCKETS_BENCH_FORWARD"

func init() {
	if os.Getenv(forwardVariable) != "" {
		if forwardAs(os.Args[1:]) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// forwardAs runs [--stack URI] FROM=TO.
func forwardAs(args []string) error {
	spec, err := forward.ParseSpec(args[len(args)-1])
	if err != nil {
		return err
	}
	c := forward.Config{Spec: spec}
	if len(args) > 1 {
		st, err := vsockets.Open(args[1])
		if err != nil {
			return err
		}
		c.Stack = func(forward.Kind) (vsock.Stack, error) { return st, nil }
	}
	f, err := forward.Start(context.Background(), c)
	if err != nil {
		return err
	}
	return f.Wait()
}

func relayConfig(t *testing.T, socat string) RelayConfig {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return RelayConfig{
		Rounds: 1, Time: 5 * time.Millisecond, Child: testChild(t), Socat: socat,
		Forward: func(ctx context.Context, args ...string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, self, args...)
			cmd.Env = append(os.Environ(), forwardVariable+"=1")
			return cmd
		},
	}
}

// TestRelay measures every path a little, with socat where it is.
func TestRelay(t *testing.T) {
	socat, err := exec.LookPath("socat")
	if err != nil {
		t.Log("there is no socat: forward alone is measured")
	}
	c := relayConfig(t, socat)
	rep, err := Relay(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Failures) > 0 {
		t.Error(rep.Failures)
	}
	for _, path := range relayPaths {
		for _, relay := range path.relays(&c) {
			for _, m := range relayMetrics {
				if v, ok := rep.median(path.String(), relay, m); !ok || v <= 0 {
					t.Errorf("%s through %s: no %s", path, relay, m)
				}
			}
		}
	}
	if strings.HasPrefix(rep.Socat, "socat version ") != (socat != "") {
		t.Errorf("version of socat: %q", rep.Socat)
	}
}

// TestRelayFails says which relay does not run, and why.
func TestRelayFails(t *testing.T) {
	c := relayConfig(t, "")
	c.Forward = func(ctx context.Context, _ ...string) *exec.Cmd { return exec.CommandContext(ctx, "/nonexistent") }
	rep, err := Relay(t.Context(), c)
	if err != nil || len(rep.Failures) != len(relayPaths) || len(rep.Points) > 0 {
		t.Errorf("%v, %+v", err, rep)
	}
	c.Socat = "/nonexistent"
	if _, err := Relay(t.Context(), c); err == nil {
		t.Error("a socat that is not there is taken")
	}
}

// TestRelayCancel leaves no process behind.
func TestRelayCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := relayConfig(t, "")
	c.Time = bench.MaxTime / 2
	c.Progress = func(int, int, string) { time.AfterFunc(20*time.Millisecond, cancel) }
	if _, err := Relay(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := Relay(t.Context(), RelayConfig{}); err == nil {
		t.Error("nothing at all is measured")
	}
}
