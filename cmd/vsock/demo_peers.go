package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"vsockets.dev/internal/guestpeer"
	"vsockets.dev/internal/testguest"
	"vsockets.dev/vswitch"
)

// caller makes socket calls on command: a guest's agent, or a Peer in this program.
type caller interface {
	Call(ctx context.Context, name string, args, result any) error
}

// peer is one of the ends that are not the host.
type peer struct {
	caller
	cid       uint32
	setGroups func([]string) error
}

// bootPeers boots two guests, or makes contexts in this program in their place.
func (d *demoCommand) bootPeers(ctx context.Context, r *report, sw *vswitch.Switch) (peers [2]peer, end func(), err error) {
	if d.InProcess {
		return inProcess(r, sw, "as asked")
	}
	if err := testguest.Available(); err != nil {
		return inProcess(r, sw, err.Error())
	}
	dir, err := os.MkdirTemp("", "vsock-demo-")
	if err != nil {
		return peers, nil, err
	}
	end = func() { _ = os.RemoveAll(dir) }
	for i, cid := range demoCIDs {
		p, g, err := bootGuest(ctx, r, sw, cid, filepath.Join(dir, fmt.Sprintf("vm%d.sock", cid)), d.console())
		if err != nil {
			end()
			return peers, nil, err
		}
		peers[i] = p
		before := end
		end = func() { _ = g.Close(); before() }
	}
	return peers, end, nil
}

// console is where the guests' consoles go.
func (d *demoCommand) console() io.Writer {
	if !d.Verbose {
		return nil
	}
	return os.Stderr
}

func inProcess(r *report, sw *vswitch.Switch, why string) (peers [2]peer, end func(), err error) {
	r.printf("No guests are booted: %s.\nAll ends are contexts in this program instead.\n\n", why)
	end = func() {}
	for i, cid := range demoCIDs {
		c, err := sw.AddContext(vswitch.ContextConfig{CID: cid})
		if err != nil {
			end()
			return peers, nil, err
		}
		p := guestpeer.New(c)
		peers[i] = peer{p, cid, c.SetGroups}
		before := end
		end = func() { _ = p.Close(); before() }
	}
	return peers, end, nil
}

func bootGuest(ctx context.Context, r *report, sw *vswitch.Switch, cid uint32, socket string, console io.Writer) (peer, *testguest.Guest, error) {
	self, err := os.Executable()
	if err != nil {
		return peer{}, nil, err
	}
	guest, err := sw.AddGuest(vswitch.GuestConfig{CID: cid, Socket: socket})
	if err != nil {
		return peer{}, nil, err
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
		return peer{}, nil, errDemo
	}
	return peer{g, cid, guest.SetGroups}, g, nil
}
