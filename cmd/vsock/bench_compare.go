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

// benchCompare compares transports.
type benchCompare struct {
	Only   []string      `help:"Compare these only, and those of --device." placeholder:"NAME"`
	Metric []string      `help:"Measure only what begins so: up, down-64, round-trip, connect." placeholder:"NAME"`
	Device []string      `sep:"none" help:"A vhost-user vsock back-end that runs, to compare with." placeholder:"NAME=SOCKET,uds=PATH"`
	Rounds int           `default:"5" help:"How often everything is measured."`
	Time   time.Duration `default:"500ms" help:"How long one measurement takes."`
	SVG    string        `name:"svg" help:"Write a picture of the comparison here." placeholder:"FILE"`
	JSON   bool          `help:"Print everything, as one JSON document that vsock bench render reads."`
}

// Help is what --help shows beside the flags.
func (*benchCompare) Help() string {
	return `Examples:

  vsock bench compare --only unix --only attach-host --metric up

  vsock bench compare --rounds 10 --json >report.json

` + exitHelp
}

// Run compares.
func (b *benchCompare) Run(ctx context.Context, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	line := newLiveLine(os.Stderr)
	defer line.clear()
	c := compare.Config{
		Transports: b.Only, Metrics: b.Metric, Rounds: b.Rounds, Time: b.Time,
		Child: func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", "end") },
		Progress: func(done, total int, what string) {
			line.show(fmt.Sprintf("%3d %%  %s", 100*done/total, what))
		},
	}
	for _, s := range b.Device {
		d, err := compare.ParseDevice(s)
		if err != nil {
			return err
		}
		c.Devices = append(c.Devices, d)
	}
	rep, err := compare.Run(ctx, c)
	line.clear()
	if err != nil {
		return err
	}
	if b.SVG != "" {
		if err := os.WriteFile(b.SVG, rep.SVG(), 0o644); err != nil {
			return err
		}
	}
	if b.JSON {
		return writeDocument(out, rep)
	}
	_, err = io.WriteString(out, rep.Table())
	return err
}

// liveLine is a line on a terminal that is written over; elsewhere it is nothing.
type liveLine struct{ f *os.File }

func newLiveLine(f *os.File) liveLine {
	if !onTerminal(f) {
		return liveLine{}
	}
	return liveLine{f}
}

func (l liveLine) show(s string) {
	if l.f != nil {
		_, _ = fmt.Fprintf(l.f, "\r\x1b[K%s", s)
	}
}

func (l liveLine) clear() { l.show("") }
