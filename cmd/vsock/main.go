// Command vsock is the tool of vsockets.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest/guest"
	"vsockets.dev/vsock"
)

// commands is the command line.
type commands struct {
	Version versionFlag `help:"Say which version this is."`

	Demo   demoCommand   `cmd:"" help:"Boot two Linux guests and show sockets between them and this program."`
	Bench  benchCommand  `cmd:"" help:"Measure connections."`
	Switch switchCommand `cmd:"" help:"Run a switch of virtual machines and processes."`
	Ps     psCommand     `cmd:"" help:"Show the contexts of a switch."`
	Guest  guestCommand  `cmd:"" help:"Add, change and remove the guests of a switch."`

	Connect  connectCommand  `cmd:"" help:"Join standard input and output to a connection."`
	Listen   listenCommand   `cmd:"" help:"Take a connection for standard input and output, or for a command."`
	Forward  forwardCommand  `cmd:"" help:"Join TCP, Unix and vsock sockets and commands to one another."`
	Cp       cpCommand       `cmd:"" help:"Copy a file to or from another machine, or serve a folder for that."`
	SSHProxy sshProxyCommand `cmd:"" name:"ssh-proxy" help:"Be the ProxyCommand of ssh."`
	Capture  captureCommand  `cmd:"" help:"Show the packets of a switch, or write them for Wireshark."`
	Top      topCommand      `cmd:"" help:"Show the contexts and connections of a switch, again and again."`
	Ping     pingCommand     `cmd:"" help:"Measure how long connections take to come about."`
	Info     infoCommand     `cmd:"" help:"Show what this machine has of vsock."`
	Doctor   doctorCommand   `cmd:"" help:"Say what stands between this machine and a working vsock."`

	Completion completionCommand `cmd:"" help:"Write the completion of a shell."`
	Man        manCommand        `cmd:"" help:"Write the manual pages."`
}

// Help is what --help shows beside the commands.
func (*commands) Help() string {
	return `Commands that tell something have --json: a JSON value in each line, and errors as ever in a line on
standard error. The reports of bench compare, scale, relay and guest are one indented document.
Without --json: connect, listen, forward and ssh-proxy, whose output is another's; forward and
switch have --log-format json, and what a switch is like is told by ps; bench render, whose input is JSON;
completion and man, which write for others; and guest rm, which says nothing.

` + exitHelp
}

func main() {
	// The same program is the init process of the demonstration's guest.
	for name, h := range guestpeer.New(vsock.Kernel()).Handlers() {
		guest.Handle(name, h)
	}
	guest.Main()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal waits for nothing
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// exited is how kong's request to exit, after --help, gets out of Parse.
type exited int

// run runs one command line and gives its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	defer func() {
		if r := recover(); r != nil {
			code, ok := r.(exited)
			if !ok {
				panic(r)
			}
			status = int(code)
		}
	}()
	out := &output{to: stdout}
	var c commands
	parser, err := kong.New(&c,
		kong.Name("vsock"),
		kong.Description("Sockets between virtual machines and their host."),
		kong.Writers(out, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(out, (*io.Writer)(nil)),
	)
	if err != nil {
		return fail(stderr, err)
	}
	k, err := parser.Parse(args)
	if err != nil && out.err == nil {
		return fail(stderr, usageError(err))
	}
	if err == nil {
		err = k.Run()
	}
	if err = out.outcome(ctx, err); err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

// usageError is what is wrong with a command line, and where to read how it is written.
func usageError(err error) error {
	help := "vsock"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context.Selected() != nil {
		help = p.Context.Selected().FullPath()
	}
	return withStatus(exitUsage, fmt.Errorf("%w; %s --help shows how it is written", err, help))
}

// fail says in one line why a command failed, and gives its status.
func fail(stderr io.Writer, err error) int {
	text := strings.TrimPrefix(err.Error(), "vsock: ") // the package's name is ours too
	_, _ = fmt.Fprintln(stderr, "vsock:", strings.ReplaceAll(text, "\n", "; "))
	return exitStatus(err)
}
