package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/coreos/go-systemd/v22/daemon"

	vsockets "vsockets.dev"
	"vsockets.dev/internal/forward"
	"vsockets.dev/vsock"
)

// forwardCommand joins places to one another.
type forwardCommand struct {
	stackFlag
	Forward     []forward.Spec   `arg:"" optional:"" placeholder:"FROM=TO" help:"Join connections to FROM to new ones to TO. Each is tcp:[HOST:]PORT, unix:PATH, vsock:CID:PORT, kernel:CID:PORT, stdio or exec:COMMAND."`
	Allow       []forward.Source `placeholder:"SOURCE" help:"Take connections from there only: a CID, an IP address or a prefix. Others are reset. Default: all."`
	MaxConns    int              `placeholder:"N" help:"How many connections a forward has at a time. Further ones are reset. Default: 256."`
	DialTimeout time.Duration    `placeholder:"TIME" help:"How long TO may take to answer. Default: 5s."`
	IdleTimeout time.Duration    `placeholder:"TIME" help:"End a connection when nothing has moved either way for so long. Default: never."`
	Drain       time.Duration    `default:"5s" placeholder:"TIME" help:"How long connections may go on after a signal (default: ${default})."`
	Config      string           `placeholder:"FILE" help:"Read a TOML file with [[forward]] tables: forward, allow, max_conns, dial_timeout, idle_timeout. The arguments add to it."`
	LogFormat   string           `enum:"text,json" default:"text" help:"How the log on standard error is written: text or json."`
	Verbose     bool             `short:"v" help:"Log single connections too."`
}

// Help is what --help shows beside the flags.
func (*forwardCommand) Help() string {
	return `Runs until a signal, and then lets the connections end in order: status 0 if they do within the
drain time, 4 if some are reset. A forward of stdio or a command alone ends with its one connection.
TCP without a host listens on 127.0.0.1 only. Sockets that systemd has made (socket activation) are
used where they are bound to a FROM: the same path, the same port, or for TCP the same address.

A file:

  [[forward]]
  forward = "tcp:127.0.0.1:2222=vsock:3:22"
  allow = ["127.0.0.0/8"]
  max_conns = 10
  idle_timeout = "10m"

Examples:

  vsock forward tcp:2222=vsock:3:22 unix:/run/db.sock=vsock:3:5432

  vsock forward vsock:any:1024=tcp:127.0.0.1:80 --allow 3 --max-conns 100

  vsock forward --stack switch:/run/vsock/attach.sock kernel:any:53=vsock:host:53

  vsock forward --config /etc/vsock/forward.toml

` + exitHelp
}

// forwardTable is a forward in the file.
type forwardTable struct {
	Forward     forward.Spec     `toml:"forward"`
	Allow       []forward.Source `toml:"allow"`
	MaxConns    int              `toml:"max_conns"`
	DialTimeout duration         `toml:"dial_timeout"`
	IdleTimeout duration         `toml:"idle_timeout"`
}

// duration is a time in the file, such as "10m".
type duration struct{ time.Duration }

// UnmarshalText reads one.
func (d *duration) UnmarshalText(text []byte) (err error) {
	d.Duration, err = time.ParseDuration(string(text))
	return err
}

// loadForwards reads a file.
func loadForwards(path string) ([]forwardTable, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseForwards(path, string(text))
}

func parseForwards(path, text string) ([]forwardTable, error) {
	var file struct {
		Forward []forwardTable `toml:"forward"`
	}
	meta, err := toml.Decode(text, &file)
	var parse toml.ParseError
	switch {
	case errors.As(err, &parse):
		return nil, fmt.Errorf("%s, line %d: %s", path, parse.Position.Line, parse.Message)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: %s is no key; a [[forward]] has forward, allow, max_conns, dial_timeout and idle_timeout", path, unknown[0])
	}
	return file.Forward, nil
}

// configs gives what is to be started.
func (c *forwardCommand) configs(stack *sharedStack, out io.Writer, log *slog.Logger) ([]forward.Config, error) {
	var tables []forwardTable
	if c.Config != "" {
		var err error
		if tables, err = loadForwards(c.Config); err != nil {
			return nil, withStatus(exitUsage, err)
		}
	}
	for _, s := range c.Forward {
		tables = append(tables, forwardTable{
			Forward: s, Allow: c.Allow, MaxConns: c.MaxConns,
			DialTimeout: duration{c.DialTimeout}, IdleTimeout: duration{c.IdleTimeout},
		})
	}
	if len(tables) == 0 {
		return nil, withStatus(exitUsage, errors.New("there is nothing to forward; write FROM=TO, for example tcp:2222=vsock:3:22, or name a file with --config"))
	}
	configs := make([]forward.Config, len(tables))
	stdio := 0
	for i, t := range tables {
		for _, e := range []forward.Endpoint{t.Forward.From, t.Forward.To} {
			if e.Kind == forward.Stdio {
				stdio++
			}
		}
		configs[i] = forward.Config{
			Spec: t.Forward, Stack: stack.get, Allow: t.Allow, MaxConns: t.MaxConns,
			DialTimeout: t.DialTimeout.Duration, IdleTimeout: t.IdleTimeout.Duration,
			Log: log, Stdout: writeCloser(out),
		}
	}
	if stdio > 1 {
		return nil, withStatus(exitUsage, errors.New("there is one standard input; stdio can be in one forward"))
	}
	return configs, nil
}

// sharedStack is opened when it is wanted, once for all forwards.
type sharedStack struct {
	flag *stackFlag

	mu     sync.Mutex
	opened vsockets.Stack
}

// get gives the stack for a kind of endpoint. None has the host's context: that is
// within a switch.
func (s *sharedStack) get(k forward.Kind) (vsock.Stack, error) {
	switch k {
	case forward.Kernel:
		return vsock.Kernel(), nil
	case forward.Host:
		return nil, errors.New("host:PORT is for the forwards of vsock switch; write vsock:CID:PORT")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil && hasEnded(s.opened) {
		_ = s.opened.Close()
		s.opened = nil // the switch may be back
	}
	if s.opened == nil {
		opened, err := s.flag.open()
		if err != nil {
			return nil, err
		}
		s.opened = opened
	}
	return s.opened, nil
}

func (s *sharedStack) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		_ = s.opened.Close()
	}
}

// Run forwards until the context ends, or nothing is left to forward.
func (c *forwardCommand) Run(ctx context.Context, out io.Writer) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	defer keepSIGPIPE()()
	stack := &sharedStack{flag: &c.stackFlag}
	configs, err := c.configs(stack, out, slog.New(logHandler(os.Stderr, c.LogFormat, level)))
	if err != nil {
		return err
	}
	defer stack.close()
	if err := inheritListeners(configs); err != nil {
		return err
	}
	set, err := startForwards(ctx, configs)
	if err != nil {
		return err
	}
	notify(daemon.SdNotifyReady)
	select {
	case <-set.ended:
		return set.wait()
	case <-ctx.Done():
	}
	notify(daemon.SdNotifyStopping)
	return set.drain(c.Drain)
}

// notify tells systemd, if it asked.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
