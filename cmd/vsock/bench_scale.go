package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"

	"vsockets.dev/internal/bench/compare"
)

// benchScale measures many connections.
type benchScale struct {
	Contexts int           `default:"100" help:"Attached contexts."`
	Conns    int           `default:"10000" help:"Idle connections."`
	Streams  int           `default:"1000" help:"Connections that move data together."`
	Rounds   int           `default:"5" help:"How often everything is measured."`
	Time     time.Duration `default:"1s" help:"How long one measurement takes."`
	IdleTime time.Duration `default:"5s" help:"How long idle connections are watched."`
	JSON     bool          `help:"Print everything, as one JSON document that vsock bench render reads."`
}

// Help is what --help shows beside the flags.
func (*benchScale) Help() string {
	return `Examples:

  vsock bench scale --contexts 10 --conns 1000

  vsock bench scale --json >scale.json

` + exitHelp
}

// Run measures.
func (b *benchScale) Run(ctx context.Context, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	line := newLiveLine(os.Stderr)
	defer line.clear()
	rep, err := compare.Scale(ctx, compare.ScaleConfig{
		Contexts: b.Contexts, Conns: b.Conns, Streams: b.Streams,
		Rounds: b.Rounds, Time: b.Time, IdleTime: b.IdleTime,
		Child:    func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, self, "bench", "end") },
		Progress: line.show,
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
