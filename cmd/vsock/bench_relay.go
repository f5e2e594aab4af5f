package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"vsockets.dev/internal/bench/compare"
)

// benchRelay measures relays.
type benchRelay struct {
	Rounds int           `default:"5" help:"How often everything is measured."`
	Time   time.Duration `default:"500ms" help:"How long one measurement takes."`
	JSON   bool          `help:"Print everything, as one JSON document that vsock bench render reads."`
}

// Help is what --help shows beside the flags.
func (*benchRelay) Help() string {
	return `Examples:

  vsock bench relay

  vsock bench relay --rounds 18 --json >relay.json

` + exitHelp
}

// Run measures.
func (b *benchRelay) Run(ctx context.Context, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	socat, _ := exec.LookPath("socat") // the report says that there is none
	line := newLiveLine(os.Stderr)
	defer line.clear()
	rep, err := compare.Relay(ctx, compare.RelayConfig{
		Rounds: b.Rounds, Time: b.Time, Socat: socat,
		Child: func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", "end") },
		Forward: func(ctx context.Context, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, self, append([]string{"forward"}, args...)...)
		},
		Progress: func(done, total int, what string) {
			line.show(fmt.Sprintf("%3d %%  %s", 100*done/total, what))
		},
	})
	line.clear()
	if err != nil {
		return err
	}
	if b.JSON {
		return writeDocument(out, rep)
	}
	_, err = io.WriteString(out, rep.Table())
	return err
}
