package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// Limits of a relay's process.
const (
	relayWithin = 5 * time.Second // from its start until it takes connections
	relayEvery  = 5 * time.Millisecond
	relayAsked  = 5 * time.Second // for socat to tell its version
)

// vsockNetwork is the network of a path that ends at the host's context.
const vsockNetwork = "vsock"

// relayPath is where a relay takes connections, and where it makes them to.
type relayPath struct{ from, to string }

func (p relayPath) String() string { return p.from + " → " + p.to }

var relayPaths = []relayPath{
	{"tcp", "tcp"},
	{"tcp", "unix"},
	{"unix", "tcp"},
	{"tcp", vsockNetwork},
	{"unix", vsockNetwork},
}

// relays are those that can join a path. socat knows the kernel's vSockets alone.
func (p relayPath) relays(c *RelayConfig) []string {
	if c.Socat == "" || p.to == vsockNetwork {
		return relayNames[:1]
	}
	return relayNames
}

// relayed is a path through a relay: the server in this process, the client in a
// child, and the relay in another.
type relayed struct {
	path   relayPath
	relay  string
	config *RelayConfig
}

func (r relayed) Name() string { return r.path.String() + " through " + r.relay }

func (r relayed) Open(ctx context.Context, dir string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		to, args, err := r.listen(ctx, c, dir)
		if err != nil {
			return err
		}
		from, err := r.front(ctx, dir)
		if err != nil {
			return err
		}
		cmd := r.command(ctx, from, to, args)
		if err := startRelay(c, cmd); err != nil {
			return err
		}
		if err := relayReady(ctx, r.path.from, from); err != nil {
			return err
		}
		e, err := c.spawn(ctx, child, Place{Network: r.path.from, Addr: from})
		if err != nil {
			return err
		}
		c.run = e.Run
		return nil
	})
}

// listen serves the far end, and gives its address and the flags that forward needs
// to reach it.
func (r relayed) listen(ctx context.Context, c *chain, dir string) (addr string, flags []string, err error) {
	if r.path.to == vsockNetwork {
		sw := vswitch.New(vswitch.Config{})
		c.add(sw.Close)
		l, err := listen(ctx, sw.Host())
		if err != nil {
			return "", nil, err
		}
		c.serve(l)
		config := attachConfig(dir)
		if _, err := sw.AddAttach(config); err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("%d:%d", vsock.CIDHost, port), []string{"--stack", "switch:" + config.Socket}, nil
	}
	addr = "127.0.0.1:0"
	if r.path.to == "unix" {
		addr = filepath.Join(dir, "far")
	}
	l, err := new(net.ListenConfig).Listen(ctx, r.path.to, addr)
	if err != nil {
		return "", nil, err
	}
	c.serve(l)
	return l.Addr().String(), nil, nil
}

// front is an address for the relay to listen on. A port that was free a moment ago
// can be taken by now; the relay fails then, and the report says so.
func (r relayed) front(ctx context.Context, dir string) (string, error) {
	if r.path.from == "unix" {
		path := filepath.Join(dir, "near")
		// One that was killed has left it.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		return path, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (r relayed) command(ctx context.Context, from, to string, flags []string) *exec.Cmd {
	ctx = context.WithoutCancel(ctx) // the chain ends it
	if r.relay == forwardRelay {
		return r.config.Forward(ctx, append(flags, r.path.from+":"+from+"="+r.path.to+":"+to)...)
	}
	var args []string
	if r.relay == socatBigRelay {
		args = []string{"-b", "65536"}
	}
	near := "UNIX-LISTEN:" + from + ",fork"
	if host, port, ok := strings.Cut(from, ":"); ok && r.path.from == "tcp" {
		near = "TCP-LISTEN:" + port + ",fork,reuseaddr,nodelay,bind=" + host
	}
	far := "UNIX-CONNECT:" + to
	if r.path.to == "tcp" {
		far = "TCP:" + to + ",nodelay" // Go sets it on every connection, too
	}
	return exec.CommandContext(ctx, r.config.Socat, append(args, near, far)...)
}

// startRelay runs a relay as long as the chain, and no longer than this process.
func startRelay(c *chain, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("compare: start the relay: %w", err)
	}
	c.add(func() error {
		// Its connections have ended by now: it has nothing to lose.
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says only that it was killed
		return nil
	})
	return nil
}

// relayReady waits until a relay takes connections.
func relayReady(ctx context.Context, network, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, relayWithin)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("compare: the relay takes no connections: %w", err)
		case <-time.After(relayEvery):
		}
	}
}

// Relay measures what goes through relays.
func Relay(ctx context.Context, c RelayConfig) (_ *RelayReport, err error) {
	if err := checkRounds(c.Rounds, c.Time); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vsock-relay-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	rep := &RelayReport{Version: reportVersion, Machine: describeMachine(), Rounds: c.Rounds, Time: c.Time}
	if c.Socat != "" {
		if rep.Socat, err = socatVersion(ctx, c.Socat); err != nil {
			return nil, err
		}
	}
	busy := startBusy()
	var all []relayed
	var contenders []*contender
	defer func() {
		for _, p := range contenders {
			_ = p.close()
		}
	}()
	for _, path := range relayPaths {
		for _, name := range path.relays(&c) {
			own := filepath.Join(dir, strconv.Itoa(len(all)))
			if err := os.Mkdir(own, 0o700); err != nil {
				return nil, err
			}
			r := relayed{path, name, &c}
			p := newContender(r, own, c.Child)
			all, contenders = append(all, r), append(contenders, p)
			p.open(ctx)
		}
	}
	rounds := Config{Metrics: relayMetrics, Rounds: c.Rounds, Time: c.Time, Progress: c.Progress}
	if err := rounds.rounds(ctx, contenders); err != nil {
		return nil, err
	}
	for i, p := range contenders {
		if err := p.close(); err != nil {
			return nil, err
		}
		rep.add(all[i].path.String(), all[i].relay, p.entry)
	}
	rep.Machine.OthersBusy = busy.others()
	return rep, nil
}

// socatVersion is such as "socat version 1.7.4.4".
func socatVersion(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, relayAsked)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "-V").Output()
	if err != nil {
		return "", fmt.Errorf("compare: %s -V: %w", program, err)
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "socat version "); ok {
			v, _, _ = strings.Cut(v, " ")
			return "socat version " + strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("compare: %s -V tells no version", program)
}
