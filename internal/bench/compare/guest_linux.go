package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vsockets.dev/internal/bench"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// Limits of a guest.
const (
	guestLife    = time.Hour        // however long the measurements take
	serverWithin = 20 * time.Second // until its server listens
	deviceWithin = 5 * time.Second  // until the other device has its socket
	deviceEvery  = 5 * time.Millisecond
	deviceAsked  = 5 * time.Second // for the other device to tell its version
)

// guestServer is what a guest's server listens on.
var guestServer = vsock.Addr{CID: vsock.CIDAny, Port: port}

// machineNamed finds a machine of package testguest.
func machineNamed(name string) (testguest.Machine, error) {
	all := []testguest.Machine{testguest.UML, testguest.QEMU61, testguest.QEMU612}
	i := slices.IndexFunc(all, func(m testguest.Machine) bool { return m.String() == name })
	if i < 0 {
		return "", bench.ConfigErrorf("compare: there is no machine %q; choose from %v", name, all)
	}
	return all[i], all[i].Available()
}

// guestWay is a way to a guest of its own, with a device of its own.
type guestWay struct {
	name    string
	machine testguest.Machine
	config  *GuestConfig
	kernel  *string // the guest's tells it
}

func (g guestWay) Name() string { return g.machine.String() + ", " + g.name }

func (g guestWay) Open(ctx context.Context, dir string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		device, hybridPath := filepath.Join(dir, "device"), filepath.Join(dir, "hybrid")
		var host vsock.Stack
		if g.name == OtherDevice {
			if err := g.startDevice(ctx, c, device, hybridPath); err != nil {
				return err
			}
		} else {
			sw := vswitch.New(vswitch.Config{})
			c.add(sw.Close)
			if _, err := sw.AddGuest(vswitch.GuestConfig{CID: nearCID, Socket: device, Hybrid: hybridPath}); err != nil {
				return err
			}
			host = sw.Host()
		}
		if err := g.boot(ctx, c, device); err != nil {
			return err
		}
		if g.name == guestHost {
			client := bench.Client{Dial: dialer(host, vsock.Addr{CID: nearCID, Port: port})}
			c.run = client.Run
			return nil
		}
		e, err := c.spawn(ctx, child, Place{Network: hybridNetwork, Addr: hybridPath, CID: nearCID})
		if err != nil {
			return err
		}
		c.run = e.Run
		return nil
	})
}

// boot boots the guest, with a server in it.
func (g guestWay) boot(ctx context.Context, c *chain, device string) error {
	vm, err := testguest.Boot(ctx, testguest.Config{
		Machine: g.machine, Init: g.config.Tool, Files: []string{g.config.Tool}, Device: device, TimeLimit: guestLife,
	})
	if err != nil {
		return err
	}
	c.add(func() error {
		vm.Kill() // it has nothing to lose
		return nil
	})
	if *g.kernel == "" {
		*g.kernel = vm.Kernel()
	}
	serving, said := context.WithTimeout(ctx, serverWithin)
	defer said()
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() {
		exit, err := vm.Run(context.WithoutCancel(ctx), testguest.Command{
			Path: g.config.Tool, Args: []string{"bench", "serve", guestServer.String()},
			Stdout: writerFunc(said), Stderr: os.Stderr,
		})
		ended <- errors.Join(fmt.Errorf("compare: the guest's server has ended, exit status %d", exit), err)
	})
	select {
	case err := <-ended:
		return err
	case <-serving.Done():
	}
	c.add(func() error {
		vm.Kill()
		running.Wait()
		return nil
	})
	if errors.Is(serving.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("compare: the guest's server does not listen within %v", serverWithin)
	}
	return ctx.Err()
}

// writerFunc is called when something is written.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// startDevice runs the other device as long as the chain.
func (g guestWay) startDevice(ctx context.Context, c *chain, socket, uds string) error {
	if g.machine == testguest.UML {
		own := socket + "-own"
		f, err := startUMLFront(socket, own)
		if err != nil {
			return err
		}
		c.add(f.Close)
		socket = own
	}
	for _, path := range []string{socket, uds} { // one that was killed has left them
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), g.config.Device, // the chain ends it
		"--vm", fmt.Sprintf("guest-cid=%d,socket=%s,uds-path=%s", nearCID, socket, uds))
	if err := startRelay(c, cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deviceWithin)
	defer cancel()
	for {
		_, err := os.Stat(socket)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("compare: %s has no socket within %v: %w", OtherDevice, deviceWithin, err)
		case <-time.After(deviceEvery):
		}
	}
}

// RunLoopback compares APIs in a guest, with a program that is its init.
func (c *GuestConfig) RunLoopback(ctx context.Context, m testguest.Machine, init string) ([]*GuestPath, error) {
	vm, err := testguest.Boot(ctx, testguest.Config{
		Machine: m, Init: init, Files: []string{c.Loopback}, Loopback: true, TimeLimit: guestLife,
	})
	if err != nil {
		return nil, err
	}
	defer vm.Kill() // it has nothing to lose
	if c.Progress != nil {
		c.Progress(0, 1, m.String()+", loopback")
	}
	var out, said bytes.Buffer
	exit, err := vm.Run(ctx, testguest.Command{Path: c.Loopback, Args: c.apiConfig().args(), Stdout: &out, Stderr: &said})
	if err == nil && exit != 0 {
		err = fmt.Errorf("compare: the guest's program has ended, exit status %d: %s", exit, &said)
	}
	if err != nil {
		return nil, err
	}
	return parseLoopback(out.Bytes())
}

// Guest measures connections to real guests. One kind of guest comes after the
// other; of each there is one for every way, all at the same time.
func Guest(ctx context.Context, c GuestConfig) (_ *GuestReport, err error) {
	if err := checkRounds(c.Rounds, c.Time); err != nil {
		return nil, err
	}
	if c.Loopback != "" {
		if c.Loopback, err = programPath(c.Loopback); err != nil {
			return nil, err
		}
	}
	machines := c.Machines
	if len(machines) == 0 {
		machines = GuestMachines
	}
	rep := &GuestReport{Version: reportVersion, Machine: describeMachine(), Rounds: c.Rounds, Time: c.Time}
	if c.Device != "" {
		if rep.Device, err = deviceVersion(ctx, c.Device); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "vsock-guest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Before the first boots, so that a wrong name costs no time.
	var all []testguest.Machine
	for _, name := range machines {
		m, err := machineNamed(name)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	busy := startBusy()
	for i, m := range all {
		own := filepath.Join(dir, strconv.Itoa(i))
		run, err := c.run(ctx, m, own)
		if err != nil {
			return nil, err
		}
		if c.Loopback != "" {
			if run.Loopback, err = c.RunLoopback(ctx, m, c.Tool); err != nil {
				return nil, err
			}
		}
		rep.Guests = append(rep.Guests, run)
	}
	rep.Machine.OthersBusy = busy.others()
	return rep, nil
}

// run measures one kind of guest.
func (c *GuestConfig) run(ctx context.Context, m testguest.Machine, dir string) (*GuestRun, error) {
	run := &GuestRun{Machine: m.String()}
	var contenders []*contender
	defer func() {
		for _, p := range contenders {
			_ = p.close()
		}
	}()
	for _, name := range guestPaths {
		if name == OtherDevice && c.Device == "" {
			continue
		}
		own := filepath.Join(dir, strconv.Itoa(len(contenders)))
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, err
		}
		p := newContender(guestWay{name, m, c, &run.Kernel}, own, c.Child)
		contenders = append(contenders, p)
		p.open(ctx)
		run.Paths = append(run.Paths, &GuestPath{Name: name})
	}
	rounds := Config{Metrics: onlyGuestMetrics(c.Metrics), Rounds: c.Rounds, Time: c.Time, Progress: c.Progress}
	if err := rounds.rounds(ctx, contenders); err != nil {
		return nil, err
	}
	for i, p := range contenders {
		if err := p.close(); err != nil {
			return nil, err
		}
		run.Paths[i] = newGuestPath(run.Paths[i].Name, p.entry)
	}
	return run, nil
}

// deviceVersion is such as "vhost-device-vsock 0.3.0".
func deviceVersion(ctx context.Context, program string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deviceAsked)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("compare: %s --version: %w", program, err)
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if !strings.HasPrefix(version, OtherDevice+" ") {
		return "", fmt.Errorf("compare: %s --version tells %q, which is not of %s", program, version, OtherDevice)
	}
	return version, nil
}

// programPath is absolute, since the guest has the program under the same path.
func programPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		return "", fmt.Errorf("compare: the program for guests: %w", err)
	}
	return abs, nil
}
