package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"vsockets.dev/internal/switchd"
)

// guestCommand changes the guests of a switch that runs.
type guestCommand struct {
	Add guestAdd    `cmd:"" help:"Add a guest."`
	Rm  guestRemove `cmd:"" help:"Remove a guest. Its connections are reset."`
	Set guestSet    `cmd:"" help:"Change a guest."`
}

// Help is what --help shows beside the commands.
func (*guestCommand) Help() string {
	return `What these commands change is not written to the switch's file: guests that were added stay until
the switch ends, and a guest of the file is as that says again after the next reload (SIGHUP).

Examples:

  vsock guest add cid=5,socket=/run/vm5.sock,groups=web

  vsock guest set 5 --groups web+db --limit connections=100

  vsock guest set 5 --cid 6

  vsock guest rm 6

` + exitHelp
}

// guestAdd adds a guest.
type guestAdd struct {
	controlFlag
	JSON  bool      `name:"json" help:"Show the guest as JSON."`
	Guest guestFlag `arg:"" placeholder:"cid=N,socket=PATH[,KEY=VALUE...]" help:"As vsock switch --guest has it: cid=N,socket=PATH[,hybrid=PATH][,groups=a+b][,LIMIT=AMOUNT]."`
}

// Help is what --help shows beside the flags.
func (*guestAdd) Help() string {
	return `Says nothing when all is done: the guest's monitor can connect to the socket then.

Examples:

  vsock guest add cid=5,socket=/run/vm5.sock,groups=web

  vsock guest add cid=5,socket=/run/vm5.sock,connections=100 --json

` + exitHelp
}

// Run adds it.
func (c *guestAdd) Run(ctx context.Context, out io.Writer) error {
	g := c.Guest
	for _, path := range []*string{&g.Socket, &g.Hybrid} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path) // the switch may be in another folder
		if err != nil {
			return err
		}
		*path = abs
	}
	added, err := c.client().AddGuest(ctx, switchd.GuestSpec{
		CID: g.CID, Socket: g.Socket, Hybrid: g.Hybrid, Groups: g.Groups, Limits: g.SwitchLimits(),
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(out, added)
	}
	return nil
}

// guestRemove removes a guest.
type guestRemove struct {
	controlFlag
	CID uint32 `arg:"" name:"cid" help:"Which."`
}

// Help is what --help shows beside the flags.
func (*guestRemove) Help() string {
	return `Examples:

  vsock guest rm 5

` + exitHelp
}

// Run removes it.
func (c *guestRemove) Run(ctx context.Context) error { return c.client().RemoveGuest(ctx, c.CID) }

// guestSet changes a guest.
type guestSet struct {
	controlFlag
	JSON   bool     `name:"json" help:"Show the guest as JSON."`
	Guest  uint32   `arg:"" name:"guest" help:"Which, by its CID."`
	CID    *uint32  `name:"cid" placeholder:"N" help:"Its new CID."`
	Groups *string  `placeholder:"a+b" help:"The groups that it is in; --groups= for none."`
	Limit  []string `sep:"none" placeholder:"LIMIT=AMOUNT" help:"A limit, as vsock switch --guest has it."`
}

// Help is what --help shows beside the flags.
func (*guestSet) Help() string {
	return `Says nothing when all is done, but where the guest has its new CID only when it boots again.

Examples:

  vsock guest set 5 --groups web+db --limit connections=100

  vsock guest set 5 --cid 6

` + exitHelp
}

// Run changes it.
func (c *guestSet) Run(ctx context.Context, out io.Writer) error {
	p := switchd.GuestPatch{CID: c.CID}
	if c.Groups != nil {
		groups := []string{}
		if *c.Groups != "" {
			groups = strings.Split(*c.Groups, "+")
		}
		p.Groups = &groups
	}
	if len(c.Limit) > 0 {
		if err := p.SetLimits(c.Limit); err != nil {
			return withStatus(exitUsage, err)
		}
	}
	if p.CID == nil && p.Groups == nil && p.Limits == nil {
		return withStatus(exitUsage, errors.New("nothing is to be changed; use --cid, --groups or --limit"))
	}
	g, err := c.client().ChangeGuest(ctx, c.Guest, p)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		return writeJSON(out, g)
	case g.NextCID != 0:
		_, err = fmt.Fprintf(out, "guest %d has CID %d when it boots again\n", g.CID, g.NextCID)
	}
	return err
}
