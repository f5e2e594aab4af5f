package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"vsockets.dev/internal/capture"
)

// captureCommand captures the packets of a switch.
type captureCommand struct {
	controlFlag
	Write   string `short:"w" placeholder:"FILE" help:"Write a pcapng file, which Wireshark reads; - is standard output."`
	Read    string `short:"r" placeholder:"FILE" help:"Show a file that was written so; - is standard input."`
	Filter  string `placeholder:"EXPR" help:"Which packets: see below."`
	SnapLen int    `name:"snaplen" short:"s" default:"65536" placeholder:"BYTES" help:"How much of each payload is kept; 0 is nothing (default: ${default})."`
	Count   int    `short:"c" placeholder:"N" help:"End after so many packets."`
	Verbose bool   `short:"v" help:"Tell on standard error when it has begun: what is sent from then on is captured."`
	JSON    bool   `name:"json" help:"Show packets as JSON, a line each."`

	stderr io.Writer
}

// Help is what --help shows beside the flags.
func (*captureCommand) Help() string {
	return `Shows the packets that contexts send, a line each, or writes them to a file, until a signal. A
switch that is busier than this command can follow is not slowed: packets are left out then, and
how many is told in the end.

Filters: cid N, port N, op NAME, type NAME, len N, each with not, and, or and parentheses; cid and port
with src or dst before them.

Examples:

  vsock capture --filter 'cid 3 and not op credit_update'

  vsock capture -w - | wireshark -k -i -

  vsock capture -w trace.pcapng --snaplen 0

  vsock capture -r trace.pcapng --filter 'port 1024'

` + exitHelp
}

// Run captures until the context ends.
func (c *captureCommand) Run(ctx context.Context, out io.Writer) error {
	c.stderr = os.Stderr
	wanted, err := capture.ParseFilter(c.Filter)
	switch {
	case err != nil:
		return withStatus(exitUsage, err)
	case c.SnapLen < 0 || c.Count < 0:
		return withStatus(exitUsage, errors.New("--snaplen and --count must not be negative"))
	case c.Read != "" && c.Write != "":
		return withStatus(exitUsage, errors.New("--read shows a file, and --write writes one; leave one of the two out"))
	}
	defer keepSIGPIPE()()
	from, err := c.source(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if c.Verbose && c.Read == "" {
		_, _ = fmt.Fprintln(c.stderr, "vsock: capturing") // the switch has answered that it does
	}
	to, err := c.sink(out)
	if err != nil {
		return err
	}
	r := capture.NewReader(from)
	n, err := c.copy(r, to, wanted)
	switch {
	case c.Read != "" && ctx.Err() != nil:
		err = errInterrupted
	case c.Read == "" && errors.Is(err, io.ErrUnexpectedEOF):
		err = withStatus(exitCut, fmt.Errorf("the switch has gone after %d packets; start it again, and then this", n))
	case c.Read == "" && ctx.Err() != nil:
		err = nil // as it was meant to end
	}
	if cerr := to.close(); err == nil {
		err = cerr
	}
	if r.Dropped > 0 {
		_, _ = fmt.Fprintf(c.stderr, "vsock: %d packets captured, and %d left out: there was no time for them\n", n, r.Dropped)
	}
	return err
}

// source is the switch, or a file.
func (c *captureCommand) source(ctx context.Context) (io.ReadCloser, error) {
	switch c.Read {
	case "":
		return c.client().Capture(ctx, c.Filter, c.SnapLen)
	case "-":
		return interruptible(ctx, os.Stdin), nil
	}
	return os.Open(c.Read)
}

// interruptible is an input that ends with the context: a read from a terminal or a pipe
// cannot be broken off, and stays behind.
func interruptible(ctx context.Context, in io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		_ = w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { _ = r.CloseWithError(ctx.Err()) })
	return r
}

// copy gives packets on until there are no more.
func (c *captureCommand) copy(r *capture.Reader, to packetSink, wanted capture.Filter) (n int, err error) {
	for c.Count == 0 || n < c.Count {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if !wanted(&p.Header) {
			continue
		}
		n++
		if err := to.write(&p); err != nil {
			return n, withStatus(exitCut, outputError(err))
		}
	}
	return n, nil
}

// packetSink is where packets go to.
type packetSink struct {
	write func(*capture.Packet) error
	close func() error
}

func (c *captureCommand) sink(out io.Writer) (packetSink, error) {
	if c.Write == "" {
		show := func(p *capture.Packet) error {
			_, err := fmt.Fprintln(out, p.Line())
			return err
		}
		if c.JSON {
			show = func(p *capture.Packet) error { return writeJSON(out, packetJSON(p)) }
		}
		return packetSink{show, func() error { return nil }}, nil
	}
	to := out
	end := func() error { return nil }
	if c.Write != "-" {
		f, err := os.Create(c.Write)
		if err != nil {
			return packetSink{}, err
		}
		to, end = f, f.Close
	} else if onTerminal(out) {
		return packetSink{}, withStatus(exitUsage, errors.New("a pcapng file is nothing for a terminal; pipe it, or write -w FILE"))
	}
	b := bufio.NewWriter(to)
	w, err := capture.NewWriter(b, c.SnapLen)
	if err != nil {
		return packetSink{}, err
	}
	if err := b.Flush(); err != nil {
		return packetSink{}, withStatus(exitCut, outputError(err))
	}
	write := func(p *capture.Packet) error {
		if err := w.Write(p); err != nil {
			return err
		}
		return b.Flush() // who looks at it wants it now
	}
	return packetSink{write, end}, nil
}

// jsonPacket is a packet for programs.
type jsonPacket struct {
	Time     string `json:"time"`
	SrcCID   uint64 `json:"src_cid"`
	SrcPort  uint32 `json:"src_port"`
	DstCID   uint64 `json:"dst_cid"`
	DstPort  uint32 `json:"dst_port"`
	Type     string `json:"type"`
	Op       string `json:"op"`
	Len      uint32 `json:"len"`
	Flags    uint32 `json:"flags"`
	BufAlloc uint32 `json:"buf_alloc"`
	FwdCnt   uint32 `json:"fwd_cnt"`
	Payload  []byte `json:"payload,omitempty"`
}

func packetJSON(p *capture.Packet) jsonPacket {
	return jsonPacket{
		p.Time.UTC().Format("2006-01-02T15:04:05.000000000Z07:00"), p.SrcCID, p.SrcPort, p.DstCID, p.DstPort,
		p.Type.String(), p.Op.String(), p.Len, p.Flags, p.BufAlloc, p.FwdCnt, p.Payload,
	}
}
