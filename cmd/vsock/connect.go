package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"vsockets.dev/vsock"
)

// connectCommand is a connection to standard input and output.
type connectCommand struct {
	stackFlag
	typeFlag
	Addr    vsock.Addr    `arg:"" placeholder:"CID:PORT" help:"Whom to connect to."`
	Wait    time.Duration `placeholder:"TIME" help:"Try again for so long while nobody is there, as where a guest is booting."`
	Timeout time.Duration `placeholder:"TIME" help:"How long one attempt may take. Default: 2s."`
	Idle    time.Duration `placeholder:"TIME" help:"End with status 4 when nothing has moved either way for so long. Default: never."`
}

// Help is what --help shows beside the flags.
func (*connectCommand) Help() string {
	return `Joins standard input and output to a connection. The end of the input is passed on, and the
command ends when both sides are done, or the peer has closed the connection. Of seqpacket
and dgram sockets, each read of the input is a message of at most 64 KiB; datagrams, which have no
end, end a second after the input.

Examples:

  tar c . | vsock connect 3:1024

  vsock connect --wait 30s 3:1024 <request >answer

  vsock connect --stack switch:/run/vsock/attach.sock host:8080

` + exitHelp
}

// Run connects.
func (c *connectCommand) Run(ctx context.Context, out io.Writer) error {
	if err := checkTimes(c.Wait, c.Timeout, c.Idle); err != nil {
		return err
	}
	defer keepSIGPIPE()()
	if c.socket() == vsock.Datagram {
		return c.datagrams(ctx, out)
	}
	s, conn, err := c.dial(ctx, c.Wait, vsock.Dialer{Type: c.socket(), Timeout: c.Timeout}, c.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return (&session{conn: conn, in: os.Stdin, out: writeCloser(out), idle: c.Idle}).run(ctx)
}

func checkTimes(times ...time.Duration) error {
	for _, t := range times {
		if t < 0 {
			return withStatus(exitUsage, fmt.Errorf("a time of %v is negative; leave the flag out for none", t))
		}
	}
	return nil
}

// writeCloser gives the output a Close, which is that of a file.
func writeCloser(w io.Writer) io.WriteCloser {
	if c, ok := w.(io.WriteCloser); ok {
		return c
	}
	return keepOpen{w}
}

// keepOpen is an output that outlives a connection.
type keepOpen struct{ io.Writer }

// Close does nothing.
func (keepOpen) Close() error { return nil }
