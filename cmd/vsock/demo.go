package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// demoCommand boots two guests, and shows sockets between them and this program.
type demoCommand struct {
	Size      int64 `default:"256" help:"MiB to send each way."`
	InProcess bool  `help:"Boot no guests: run between contexts in this program."`
	JSON      bool  `name:"json" help:"Show each step as JSON, in a line."`
	Verbose   bool  `help:"Show the guests' consoles and the switch's log on standard error."`
}

// Help is what --help shows beside the flags.
func (*demoCommand) Help() string {
	return `Boots the guests with User Mode Linux, and says so where that is not there.

Examples:

  vsock demo

  vsock demo --in-process --size 16

` + exitHelp
}

// What the demonstration uses.
const (
	demoTimeLimit = 2 * time.Minute // of a guest's life, and of the whole
	refusedWithin = 50 * time.Millisecond
	demoGroup     = "demo"

	portHostEcho, portHostReceive = 1024, 1025
	portPeerEcho, portPeerReceive = 1024, 1025
	portNobody                    = 9999
)

// demoCIDs are those of the guests.
var demoCIDs = [2]uint32{3, 4}

var errDemo = errors.New("the demonstration failed")

// Run runs the demonstration.
func (d *demoCommand) Run(ctx context.Context, out io.Writer) error {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, demoTimeLimit)
	defer cancel()
	if d.Size < 1 {
		return withStatus(exitUsage, fmt.Errorf("--size is %d MiB; it must be at least 1", d.Size))
	}
	sw := vswitch.New(d.config())
	defer func() { _ = sw.Close() }()

	r := &report{out: out, json: d.JSON}
	peers, end, err := d.bootPeers(ctx, r, sw)
	if err != nil {
		return err
	}
	defer end()
	defer context.AfterFunc(ctx, func() { _ = sw.Close() })() // what is under way ends
	s := demo{host: sw.Host(), peers: peers, bytes: d.Size << 20, report: r}
	s.show(ctx)
	if errors.Is(whole.Err(), context.Canceled) {
		return errInterrupted
	}
	if r.failed > 0 {
		return fmt.Errorf("%w: %d of %d steps", errDemo, r.failed, r.steps)
	}
	r.printf("All %d steps held.\n", r.steps)
	return nil
}

// config makes the switch speak, where that is asked for.
func (d *demoCommand) config() vswitch.Config {
	if !d.Verbose {
		return vswitch.Config{}
	}
	return vswitch.Config{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
}

// demo is the demonstration proper: the host and two peers on a switch.
type demo struct {
	host   vsock.Stack
	peers  [2]peer
	bytes  int64
	report *report
}

func (d *demo) show(ctx context.Context) {
	// The host's services are those of the guest: the same code on another stack.
	local := guestpeer.New(d.host)
	defer func() { _ = local.Close() }()
	guest, other := d.peers[0], d.peers[1]

	d.report.step("the guest connects to a listener of the host", func() (string, error) {
		return connect(ctx, local, portHostEcho, guest)
	})
	d.report.step("the host connects to a listener of the guest", func() (string, error) {
		return connect(ctx, guest, portPeerEcho, local)
	})
	d.report.step("half-close: the answer comes after the end of the question", func() (string, error) {
		return halfClose(ctx, d.host, vsock.Addr{CID: guest.cid, Port: portPeerEcho})
	})
	d.report.step("guest to host, SHA-256 verified", func() (string, error) {
		return d.fromPeer(ctx)
	})
	d.report.step("host to guest, SHA-256 verified", func() (string, error) {
		return d.toPeer(ctx)
	})
	d.report.step("the guest is refused at once where nobody listens", func() (string, error) {
		return refused(ctx, guest, vsock.Addr{CID: vsock.CIDHost, Port: portNobody})
	})
	d.report.step("the host is refused at once where nobody listens", func() (string, error) {
		return refused(ctx, local, vsock.Addr{CID: guest.cid, Port: portNobody})
	})
	d.report.step("the guest is refused at once by another: they have no group in common", func() (string, error) {
		return refused(ctx, other, vsock.Addr{CID: guest.cid, Port: portPeerEcho})
	})
	d.report.step("both join group "+demoGroup+": guest to guest, SHA-256 verified", func() (string, error) {
		return d.betweenPeers(ctx, guest, other)
	})
	d.report.step("and back", func() (string, error) {
		return d.betweenPeers(ctx, other, guest)
	})
}

// connect has one end listen and the other connect.
func connect(ctx context.Context, server caller, port uint32, client caller) (string, error) {
	var to vsock.Addr
	if err := server.Call(ctx, guestpeer.CmdListen, guestpeer.Listen{Port: port, Service: guestpeer.ServiceEcho}, &to); err != nil {
		return "", err
	}
	var o guestpeer.Outcome
	if err := client.Call(ctx, guestpeer.CmdDial, guestpeer.Dial{To: to}, &o); err != nil {
		return "", err
	}
	if o.Refused || o.Remote != to {
		return "", fmt.Errorf("connected to %v, not %v", o.Remote, to)
	}
	return fmt.Sprintf("%v -> %v, %v", o.Local, o.Remote, o.Took.Round(time.Microsecond)), nil
}

func halfClose(ctx context.Context, host vsock.Stack, to vsock.Addr) (string, error) {
	c, err := vsock.Dial(ctx, host, to)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	const question = "a question of one line"
	if _, err := io.WriteString(c, question); err != nil {
		return "", err
	}
	if err := c.CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return "", err
	}
	if string(answer) != question {
		return "", fmt.Errorf("the answer is %q", answer)
	}
	return fmt.Sprintf("%d bytes back, then end of file", len(answer)), nil
}

func refused(ctx context.Context, from caller, to vsock.Addr) (string, error) {
	var o guestpeer.Outcome
	if err := from.Call(ctx, guestpeer.CmdDial, guestpeer.Dial{To: to}, &o); err != nil {
		return "", err
	}
	switch {
	case !o.Refused:
		return "", fmt.Errorf("connected to %v", to)
	case o.Took > refusedWithin:
		return "", fmt.Errorf("only after %v; the limit is %v", o.Took, refusedWithin)
	}
	return fmt.Sprintf("connection refused after %v", o.Took.Round(time.Microsecond)), nil
}
