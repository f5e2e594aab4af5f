package compare

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"vsockets.dev/internal/attach"
	"vsockets.dev/internal/bench"
	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/stack"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func linuxTransports() []transport { return []transport{attachHost{}, attachAttach{}, hybridSockets{}} }

// attachConfig joins children that may talk to one another, and have as many
// connections as a job can ask for.
func attachConfig(dir string) vswitch.AttachConfig {
	return vswitch.AttachConfig{
		Socket: filepath.Join(dir, "attach"), Groups: []string{"bench"},
		Limits: vswitch.Limits{Connections: maxConns},
	}
}

// attachHost is a child that is attached by shared memory, and this process, which
// embeds the switch.
type attachHost struct{}

func (attachHost) Name() string { return "attach-host" }

func (attachHost) Open(ctx context.Context, dir string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		sw := vswitch.New(vswitch.Config{})
		c.add(sw.Close)
		l, err := listen(ctx, sw.Host())
		if err != nil {
			return err
		}
		c.serve(l)
		config := attachConfig(dir)
		if _, err := sw.AddAttach(config); err != nil {
			return err
		}
		e, err := c.spawn(ctx, child, Place{Network: attachNetwork, Addr: config.Socket, CID: vsock.CIDHost})
		if err != nil {
			return err
		}
		c.run = e.Run
		return nil
	})
}

// attachAttach is two children that are attached to the switch of this process.
type attachAttach struct{}

func (attachAttach) Name() string { return "attach-attach" }

func (attachAttach) Open(ctx context.Context, dir string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		sw := vswitch.New(vswitch.Config{})
		c.add(sw.Close)
		config := attachConfig(dir)
		if _, err := sw.AddAttach(config); err != nil {
			return err
		}
		far, err := c.spawn(ctx, child, Place{Network: attachNetwork, Addr: config.Socket, Serve: true})
		if err != nil {
			return err
		}
		near, err := c.spawn(ctx, child, Place{Network: attachNetwork, Addr: config.Socket, CID: far.cid})
		if err != nil {
			return err
		}
		c.run = withSwitch(near.Run, bench.CPUTime)
		return nil
	})
}

// device is another vhost-user vsock back-end, with our driver as its guest.
type device struct{ Device }

func newDevice(d Device) (transport, error) { return device{d}, nil }

func (d device) Name() string { return d.Device.Name }

func (d device) Open(ctx context.Context, _ string, child childFunc) (link, error) {
	return build(func(c *chain) error {
		// A guest's connection to a port of the host comes out here.
		l, err := new(net.ListenConfig).Listen(ctx, "unix", fmt.Sprintf("%s_%d", d.UDS, port))
		if err != nil {
			return err
		}
		c.serve(l)
		e, err := c.spawn(ctx, child, Place{Network: attachNetwork, Addr: d.Socket, CID: vsock.CIDHost, Foreign: true})
		if err != nil {
			return err
		}
		c.run = withSwitch(e.Run, cpuOfServer(ctx, d.Socket))
		return nil
	})
}

// withSwitch adds the CPU time of a third process, which stands between the ends.
func withSwitch(run func(context.Context, bench.Job) (bench.Result, error), cpu func() time.Duration) func(context.Context, bench.Job) (bench.Result, error) {
	return func(ctx context.Context, j bench.Job) (bench.Result, error) {
		before := cpu()
		r, err := run(ctx, j)
		r.CPU += cpu() - before
		return r, err
	}
}

// attached is a context of this process.
type attached interface {
	vsock.Stack
	Close() error
}

// attachTo joins a switch of ours, or is the guest of another device.
func attachTo(ctx context.Context, p Place) (attached, error) {
	if !p.Foreign {
		return attach.Dial(ctx, p.Addr)
	}
	d, err := driver.Connect(ctx, p.Addr)
	if err != nil {
		return nil, err
	}
	st := stack.New(stack.Config{CID: d.CID(), Out: d})
	if err := d.Start(st); err != nil {
		_ = d.Close()
		return nil, err
	}
	return &guest{st, d}, nil
}

// guest is a stack on another device.
type guest struct {
	*stack.Stack
	driver *driver.Driver
}

func (g *guest) Close() error {
	_ = g.Stack.Close()
	return g.driver.Close()
}
