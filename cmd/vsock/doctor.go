package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"vsockets.dev/internal/doctor"
	"vsockets.dev/vsock"
)

// thisSystem is where the facts come from; tests have another.
var thisSystem = doctor.System{Root: os.DirFS("/"), Family: vsock.AddressFamily, LocalCID: vsock.LocalCID}

// probeFlag is of both commands.
type probeFlag struct {
	Probe bool `help:"Also make and bind sockets, to find out whether that is allowed. Nothing is connected or sent."`
}

func (p probeFlag) look() doctor.Facts {
	f := doctor.Look(thisSystem)
	if p.Probe {
		f.Probe(vsock.Kernel())
	}
	return f
}

// infoCommand shows what this machine has of vsock.
type infoCommand struct {
	probeFlag
	JSON bool `name:"json" help:"Show it as JSON."`
}

// Help is what --help shows beside the flags.
func (*infoCommand) Help() string {
	return `Only files are looked at, unless there is --probe.

Examples:

  vsock info

  vsock info --json | jq .local_cid

` + exitHelp
}

// Run shows it.
func (c *infoCommand) Run(out io.Writer) error {
	f := c.look()
	if c.JSON {
		return writeJSON(out, f)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	if f.Family != 0 {
		row("address family", "%d", f.Family)
	} else {
		row("address family", "none")
	}
	switch {
	case f.CID == nil:
		row("local CID", "unknown: %s", f.CIDError)
	case *f.CID == vsock.CIDAny:
		row("local CID", "any (no transport)")
	default:
		row("local CID", "%d", *f.CID)
	}
	row("kernel", "%s", orDash(f.Kernel))
	row("vsock version", "%s", orDash(f.Version))
	for _, m := range doctor.Modules {
		state := "not loaded"
		for _, name := range f.Modules {
			if name == m.Name {
				state = "loaded"
			}
		}
		row("module "+m.Name, "%s: %s", state, m.Use)
	}
	for _, d := range f.Devices {
		row(d.Path, "%s", d.Mode)
	}
	row("virtio device", "%s", yes(f.Virtio))
	row("virtual machine", "%s", yes(f.Guest))
	row("seccomp", "%s", orDash(f.Seccomp))
	row("ports below 1024", "%s", yes(f.LowPorts))
	if p := f.Probed; p != nil {
		for _, t := range []struct{ name, err string }{{"making a socket", p.Socket}, {"binding it", p.Bind}, {"binding CID 1", p.Loopback}, {"binding the local CID", p.Own}} {
			if t.err == "" {
				t.err = "works"
			}
			row(t.name, "%s", t.err)
		}
	}
	for _, g := range f.Guests {
		row("guest", "CID %d, process %d", g.CID, g.PID)
	}
	return w.Flush()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// doctorCommand says what stands in the way.
type doctorCommand struct {
	probeFlag
	CID  uint32 `name:"cid" placeholder:"N" help:"A CID that a guest of this host is to have: is it free?"`
	JSON bool   `name:"json" help:"Show the findings as JSON."`
}

// Help is what --help shows beside the flags.
func (*doctorCommand) Help() string {
	return `Says what stands between this machine and a working vsock, and what to do. Only files are looked
at, unless there is --probe. Status 1: something stands in the way.

Examples:

  vsock doctor

  vsock doctor --probe --cid 3

` + exitHelp
}

// Run says it.
func (c *doctorCommand) Run(out io.Writer) error {
	all := doctor.Diagnose(c.look(), c.CID)
	if c.JSON {
		if err := writeJSON(out, all); err != nil {
			return err
		}
	} else {
		for _, f := range all {
			_, _ = fmt.Fprintf(out, "%-8s %-9s %s\n", colour(out, f.State), f.Check, f.Text)
			if f.Remedy != "" {
				_, _ = fmt.Fprintf(out, "%s %s\n", strings.Repeat(" ", 17), "-> "+f.Remedy)
			}
		}
	}
	if !doctor.Sound(all) {
		return errors.New("vsock does not work on this machine as it is; the remedies are above")
	}
	return nil
}

// colour paints a state, on a terminal.
func colour(out io.Writer, state string) string {
	if !onTerminal(out) || os.Getenv("NO_COLOR") != "" {
		return state
	}
	number := map[string]int{doctor.OK: 32, doctor.Note: 33, doctor.Problem: 31}[state]
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m%s", number, state, strings.Repeat(" ", 8-len(state)))
}
