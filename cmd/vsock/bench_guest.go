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

// benchGuest measures connections to real guests.
type benchGuest struct {
	Machine  []string      `help:"Boot these only: uml, qemu-6.1 or qemu-6.12. Default: all." placeholder:"NAME"`
	Metric   []string      `help:"Measure only what begins so: up, down-64, round-trip, connect." placeholder:"NAME"`
	Device   string        `help:"The program of vhost-device-vsock, to compare with. Default: that in PATH." placeholder:"FILE"`
	Loopback string        `help:"The program of test/loopback, which compares package vsock with another one inside a guest. Default: that is left out." placeholder:"FILE"`
	Rounds   int           `default:"5" help:"How often everything is measured."`
	Time     time.Duration `default:"500ms" help:"How long one measurement takes."`
	JSON     bool          `help:"Print everything, as one JSON document that vsock bench render reads."`
}

// Help is what --help shows beside the flags.
func (*benchGuest) Help() string {
	return `Examples:

  vsock bench guest --machine uml

  vsock bench guest --device ./vhost-device-vsock --json >guest.json

` + exitHelp
}

// Run measures.
func (b *benchGuest) Run(ctx context.Context, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	device := b.Device
	if device == "" {
		device, _ = exec.LookPath(compare.OtherDevice) // the report says that there is none
	}
	line := newLiveLine(os.Stderr)
	defer line.clear()
	rep, err := compare.Guest(ctx, compare.GuestConfig{
		Machines: b.Machine, Metrics: b.Metric, Rounds: b.Rounds, Time: b.Time, Tool: self, Device: device, Loopback: b.Loopback,
		Child: func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", "end") },
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
