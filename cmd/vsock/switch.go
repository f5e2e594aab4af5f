package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"vsockets.dev/internal/forward"
	"vsockets.dev/internal/switchd"
	"vsockets.dev/vswitch"
)

// switchCommand is the switch as a service.
type switchCommand struct {
	Guest      []guestFlag    `sep:"none" placeholder:"cid=N,socket=PATH[,KEY=VALUE...]" help:"A virtual machine, which connects to the vhost-user socket PATH. Further keys: hybrid=PATH, groups=a+b, and limits."`
	Attach     []attachFlag   `sep:"none" placeholder:"PATH[,KEY=VALUE...]" help:"A socket at which processes join. Keys: cids=FIRST-LAST, users=0+1000, per-user=N, groups=a+b, and limits."`
	Rule       []vswitch.Rule `sep:"none" aliases:"rules" placeholder:"RULE" help:"A rule of the policy, \"allow|deny FROM TO[:PORTS]\". The first that fits decides."`
	Forward    []forward.Spec `sep:"none" aliases:"forwards" placeholder:"FROM=TO" help:"Join connections to FROM to new ones to TO."`
	Control    string         `placeholder:"PATH" help:"Open a control socket, for vsock ps and vsock guest."`
	Config     string         `placeholder:"FILE" help:"Read a TOML file with the same names. The flags add to it."`
	ConfineDir []string       `sep:"none" aliases:"confine-dirs" placeholder:"DIR" help:"A folder in which sockets may be opened later, beside those in which there are some from the start."`
	NoConfine  bool           `help:"Keep the rights that the switch does not need, to files, programs and the network."`
	LogFormat  string         `placeholder:"text|json" help:"How the log on standard error is written."`
	Verbose    bool           `help:"Log single connections too."`
}

// guestFlag and attachFlag have a text form on the command line only.
type (
	guestFlag  struct{ switchd.Guest }
	attachFlag struct{ switchd.Attach }
)

// UnmarshalText reads the form of the command line.
func (f *guestFlag) UnmarshalText(text []byte) (err error) {
	f.Guest, err = switchd.ParseGuest(string(text))
	return err
}

// UnmarshalText reads the form of the command line.
func (f *attachFlag) UnmarshalText(text []byte) (err error) {
	f.Attach, err = switchd.ParseAttach(string(text))
	return err
}

// Help is what --help shows beside the flags.
func (*switchCommand) Help() string {
	return `Joins virtual machines, processes and ports of this host. SIGHUP reads the file again and
changes what is different in it; SIGTERM ends in order.

Limits, each KEY=AMOUNT with K, M or G for powers of 1024 and -1 for none: connections,
half-open, buffered, buf-alloc, packet-rate, byte-rate.

Examples:

  vsock switch --guest cid=3,socket=/run/vm3.sock,groups=web --attach /run/vsock/attach.sock

  vsock switch --guest cid=3,socket=/run/vm3.sock,connections=100,byte-rate=64M --rule 'deny 3 host:22'

  vsock switch --guest cid=3,socket=/run/vm3.sock --forward tcp:127.0.0.1:2222=vsock:3:22 --forward host:8080=tcp:127.0.0.1:80

  vsock switch --config /etc/vsock/switch.toml --control /run/vsock/control.sock

` + exitHelp
}

// Run runs the switch until the context ends.
func (c *switchCommand) Run(ctx context.Context, out io.Writer, k *kong.Context) error {
	var level slog.LevelVar
	load := func() (switchd.Config, error) {
		cfg, err := c.load()
		if err == nil && cfg.Verbose {
			level.Set(slog.LevelDebug)
		} else if err == nil {
			level.Set(slog.LevelInfo)
		}
		return cfg, err
	}
	first, err := load()
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	s := switchd.Service{
		Load:   load,
		Files:  c.files(),
		Reload: reload,
		Log:    slog.New(logHandler(k.Stderr, first.LogFormat, &level)),
		Ready: func(d *switchd.Daemon) {
			_, _ = fmt.Fprintf(out, "vsock switch: ready: %s\n", d.Summary())
		},
	}
	return s.Run(ctx)
}

// files are what load reads.
func (c *switchCommand) files() []string {
	if c.Config == "" {
		return nil
	}
	return []string{c.Config}
}

func logHandler(w io.Writer, format string, level slog.Leveler) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if format == switchd.LogJSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// load reads the file, if there is one, and adds the flags.
func (c *switchCommand) load() (switchd.Config, error) {
	var file switchd.Config
	if c.Config != "" {
		var err error
		if file, err = switchd.LoadFile(c.Config); err != nil {
			return file, withStatus(exitUsage, err)
		}
	}
	flags := switchd.Config{
		Rules: c.Rule, Forwards: c.Forward,
		ConfineDirs: c.ConfineDir, NoConfine: c.NoConfine,
		Control: c.Control, LogFormat: c.LogFormat, Verbose: c.Verbose,
	}
	for _, g := range c.Guest {
		flags.Guests = append(flags.Guests, g.Guest)
	}
	for _, a := range c.Attach {
		flags.Attach = append(flags.Attach, a.Attach)
	}
	return file.And(flags), nil
}
