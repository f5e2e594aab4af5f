package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"vsockets.dev/vsock"
)

// sshProxyCommand joins ssh to a context.
type sshProxyCommand struct {
	stackFlag
	CID    string        `arg:"" name:"cid" help:"The CID, also as vsock/CID or vsock%CID, which ssh takes as names of hosts."`
	Port   uint32        `arg:"" optional:"" default:"22" help:"The port (default: ${default})."`
	Fdpass bool          `help:"Hand the connection itself to ssh, which then carries all by itself: for ProxyUseFdpass yes. --stack kernel: and hybrid: can."`
	Wait   time.Duration `placeholder:"TIME" help:"Try again for so long while nobody is there, as where a guest is booting."`
}

// Help is what --help shows beside the flags.
func (*sshProxyCommand) Help() string {
	return `In ~/.ssh/config:

  Host vsock/*
    ProxyCommand vsock ssh-proxy --fdpass %h %p
    ProxyUseFdpass yes
    CheckHostIP no

for a virtual machine of Firecracker or Cloud Hypervisor:

  Host vm3
    ProxyCommand vsock ssh-proxy --stack hybrid:/run/vm3/v.sock --fdpass 3 %p
    ProxyUseFdpass yes
    HostKeyAlias vm3

and for a switch:

  Host vm4
    ProxyCommand vsock ssh-proxy --stack switch:/run/vsock/attach.sock 4 %p
    HostKeyAlias vm4

Examples:

  ssh vsock/3

  ssh -o 'ProxyCommand vsock ssh-proxy --wait 30s 3 %p' root@vm3

` + exitHelp
}

// addr reads the CID.
func (c *sshProxyCommand) addr() (vsock.Addr, error) {
	cid := c.CID
	for _, prefix := range []string{"vsock/", "vsock%"} {
		cid = strings.TrimPrefix(cid, prefix)
	}
	return vsock.ParseAddr(cid + ":" + strconv.FormatUint(uint64(c.Port), 10))
}

// Run connects, and hands over or joins.
func (c *sshProxyCommand) Run(ctx context.Context, out io.Writer) error {
	a, err := c.addr()
	if err != nil {
		return withStatus(exitUsage, err)
	}
	defer keepSIGPIPE()()
	s, conn, err := c.dial(ctx, c.Wait, vsock.Dialer{}, a)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if c.Fdpass {
		return c.pass(conn, out)
	}
	return (&session{conn: conn, in: os.Stdin, out: writeCloser(out)}).run(ctx)
}

// pass hands the connection over, which lasts as long as ssh has it.
func (c *sshProxyCommand) pass(conn *vsock.Conn, out io.Writer) error {
	f, err := conn.File()
	if errors.Is(err, vsock.ErrNotSupported) {
		_ = conn.Close()
		return withStatus(exitUsage, fmt.Errorf("%s has no descriptor to hand over; leave out --fdpass, and ProxyUseFdpass in ssh's configuration", c.Stack))
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	to, ok := asFile(out)
	if !ok {
		return errors.New("--fdpass: standard output is no socket; is ProxyUseFdpass yes in ssh's configuration?")
	}
	return passFile(to, f)
}
