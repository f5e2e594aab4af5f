package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// demoCommand boots a guest and shows sockets between it and this program.
type demoCommand struct {
	Size      int64 `default:"256" help:"MiB to send each way."`
	InProcess bool  `help:"Boot no guest: run between two contexts in this program."`
	Verbose   bool  `help:"Show the guest's console and the switch's log on standard error."`
}

// What the demonstration uses.
const (
	demoCID       = 3
	demoTimeLimit = 2 * time.Minute // of the guest's life, and of the whole
	refusedWithin = 50 * time.Millisecond

	portHostEcho, portHostReceive = 1024, 1025
	portPeerEcho, portPeerReceive = 1024, 1025
	portNobody                    = 9999
)

var errDemo = errors.New("the demonstration failed")

// Run runs the demonstration.
func (d *demoCommand) Run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeLimit)
	defer cancel()
	if d.Size < 1 {
		return fmt.Errorf("--size is %d MiB; it must be at least 1", d.Size)
	}
	sw := vswitch.New(d.config())
	defer func() { _ = sw.Close() }()

	r := &report{out: out}
	peer, end, err := d.bootPeer(ctx, r, sw)
	if err != nil {
		return err
	}
	defer end()
	s := demo{host: sw.Host(), peer: peer, bytes: d.Size << 20, report: r}
	s.show(ctx)
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

// console is where the guest's console goes.
func (d *demoCommand) console() io.Writer {
	if !d.Verbose {
		return nil
	}
	return os.Stderr
}

// caller is the other end: a guest's agent, or a Peer in this program.
type caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

// bootPeer boots a guest, or makes a context in this program in its place.
func (d *demoCommand) bootPeer(ctx context.Context, r *report, sw *vswitch.Switch) (caller, func(), error) {
	if d.InProcess {
		return inProcess(r, sw, "as asked")
	}
	if err := testguest.Available(); err != nil {
		return inProcess(r, sw, err.Error())
	}
	dir, err := os.MkdirTemp("", "vsock-demo-")
	if err != nil {
		return nil, nil, err
	}
	end := func() { _ = os.RemoveAll(dir) }
	g, err := bootGuest(ctx, r, sw, filepath.Join(dir, "vsock.sock"), d.console())
	if err != nil {
		end()
		return nil, nil, err
	}
	return g, func() { _ = g.Close(); end() }, nil
}

func inProcess(r *report, sw *vswitch.Switch, why string) (caller, func(), error) {
	c, err := sw.AddContext(vswitch.ContextConfig{CID: demoCID})
	if err != nil {
		return nil, nil, err
	}
	r.printf("No guest is booted: %s.\nBoth ends are contexts in this program instead.\n\n", why)
	p := guestpeer.New(c)
	return p, func() { _ = p.Close() }, nil
}

func bootGuest(ctx context.Context, r *report, sw *vswitch.Switch, socket string, console io.Writer) (*testguest.Guest, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	guest, err := sw.AddGuest(vswitch.GuestConfig{CID: demoCID, Socket: socket})
	if err != nil {
		return nil, err
	}
	var g *testguest.Guest
	r.step("a Linux guest boots, with our virtio-vsock device", func() (string, error) {
		start := time.Now()
		g, err = testguest.Boot(ctx, testguest.Config{Init: self, Device: socket, TimeLimit: demoTimeLimit, Log: console})
		if err != nil {
			return "", err
		}
		if g.CID() != guest.CID() {
			return "", fmt.Errorf("its CID is %d, not %d", g.CID(), guest.CID())
		}
		return fmt.Sprintf("Linux %s, CID %d, %.1f s", g.Kernel(), g.CID(), time.Since(start).Seconds()), nil
	})
	if g == nil {
		return nil, errDemo
	}
	return g, nil
}

// demo is the demonstration proper: host and peer are two ends of a switch.
type demo struct {
	host   vsock.Stack
	peer   caller
	bytes  int64
	report *report
}

func (d *demo) show(ctx context.Context) {
	// The host's services are those of the guest: the same code on another stack.
	local := guestpeer.New(d.host)
	defer func() { _ = local.Close() }()

	d.report.step("the guest connects to a listener of the host", func() (string, error) {
		return d.connect(ctx, local, portHostEcho, d.peer)
	})
	d.report.step("the host connects to a listener of the guest", func() (string, error) {
		return d.connect(ctx, d.peer, portPeerEcho, local)
	})
	d.report.step("half-close: the answer comes after the end of the question", func() (string, error) {
		return d.halfClose(ctx)
	})
	d.report.step("guest to host, SHA-256 verified", func() (string, error) {
		return d.fromPeer(ctx)
	})
	d.report.step("host to guest, SHA-256 verified", func() (string, error) {
		return d.toPeer(ctx)
	})
	d.report.step("the guest is refused at once where nobody listens", func() (string, error) {
		return refused(ctx, d.peer, vsock.Addr{CID: vsock.CIDHost, Port: portNobody})
	})
	d.report.step("the host is refused at once where nobody listens", func() (string, error) {
		return refused(ctx, local, vsock.Addr{CID: demoCID, Port: portNobody})
	})
}

// connect has one end listen and the other connect.
func (d *demo) connect(ctx context.Context, server caller, port uint32, client caller) (string, error) {
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

func (d *demo) halfClose(ctx context.Context) (string, error) {
	c, err := vsock.Dial(ctx, d.host, vsock.Addr{CID: demoCID, Port: portPeerEcho})
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
