package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"vsockets.dev/internal/switchd"
)

// controlFlag names the switch that a command is about.
type controlFlag struct {
	Control string `placeholder:"PATH" env:"VSOCK_CONTROL" help:"The switch's control socket. Default: /run/vsock/control.sock for root, else vsock/control.sock in $$XDG_RUNTIME_DIR."`
}

func (f controlFlag) client() *switchd.Client {
	path := f.Control
	if path == "" {
		path = defaultControl()
	}
	return switchd.NewClient(path)
}

// defaultControl is where a switch's control socket is looked for.
func defaultControl() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" || os.Geteuid() == 0 {
		dir = "/run"
	}
	return filepath.Join(dir, "vsock", "control.sock")
}

// psCommand shows the contexts of a switch.
type psCommand struct {
	controlFlag
	JSON bool `name:"json" help:"Show all that is known, as JSON."`
}

// Help is what --help shows beside the flags.
func (*psCommand) Help() string {
	return `CONNS is the connections that the context opened, BUFFERED the bytes that it sent and that wait
for other guests, DENIED what the policy refused, LIMITED what its limits refused.

Examples:

  vsock ps

  vsock ps --control /run/vsock/control.sock --json

` + exitHelp
}

// Run shows them.
func (c *psCommand) Run(ctx context.Context, out io.Writer) error {
	all, err := c.client().Contexts(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, all)
	}
	return psTable(out, all)
}

func psTable(out io.Writer, all []switchd.Context) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CID\tKIND\tSTATE\tGROUPS\tCONNS\tBUFFERED\tDENIED\tLIMITED\tPID\tSOCKET")
	for _, c := range all {
		cid := strconv.FormatUint(uint64(c.CID), 10)
		if c.NextCID != 0 {
			cid += fmt.Sprintf(" (then %d)", c.NextCID)
		}
		pid := "-"
		if c.PID != 0 {
			pid = strconv.Itoa(int(c.PID))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", cid, c.Kind, c.State,
			orDash(strings.Join(c.Groups, "+")), c.Connections, c.Buffered,
			c.Counters.Denied, c.Counters.Limited, pid, orDash(c.Socket))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
