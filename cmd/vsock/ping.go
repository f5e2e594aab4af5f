package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"syscall"
	"time"

	vsockets "vsockets.dev"
	"vsockets.dev/vsock"
)

// maxPing is the largest payload of an echo.
const maxPing = 1 << 20

// pingCommand measures round trips.
type pingCommand struct {
	stackFlag
	Addr     vsock.Addr    `arg:"" placeholder:"CID:PORT" help:"Whom to ask."`
	Count    int           `short:"c" default:"4" help:"How many times; 0 is until a signal."`
	Interval time.Duration `short:"i" default:"1s" help:"The time between two."`
	Timeout  time.Duration `default:"2s" help:"How long an answer may take."`
	Echo     bool          `help:"Send bytes over one connection to a service that sends them back, in place of a connection each time."`
	Size     int           `short:"s" default:"64" help:"How many bytes, with --echo."`
	JSON     bool          `name:"json" help:"Show the statistics as JSON."`
}

// Help is what --help shows beside the flags.
func (*pingCommand) Help() string {
	return `Opens and closes a connection, and tells how long it took to come about. A refusal is an answer of
the other side too, and is told as such: that context is there, and nobody listens. Status 3: not
one connection came about.

Examples:

  vsock ping 3:1024

  vsock ping --echo --size 4096 --interval 100ms --count 100 --json 3:7

` + exitHelp
}

// pingReport are the statistics. Times are in nanoseconds.
type pingReport struct {
	Addr     vsock.Addr    `json:"addr"`
	Sent     int           `json:"sent"`
	Answered int           `json:"answered"`
	Refused  int           `json:"refused"`
	Min      time.Duration `json:"min_ns"`
	Median   time.Duration `json:"median_ns"`
	Mean     time.Duration `json:"mean_ns"`
	Max      time.Duration `json:"max_ns"`
	StdDev   time.Duration `json:"stddev_ns"`

	times []time.Duration
}

// Run asks.
func (c *pingCommand) Run(ctx context.Context, out io.Writer) error {
	switch {
	case c.Count < 0 || c.Interval < 0 || c.Timeout <= 0:
		return withStatus(exitUsage, errors.New("--count, --interval and --timeout must not be negative"))
	case c.Size < 1 || c.Size > maxPing:
		return withStatus(exitUsage, fmt.Errorf("--size is %d; it can be 1 to %d", c.Size, maxPing))
	}
	s, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	ask := func() error { return c.connect(ctx, s) }
	if c.Echo {
		conn, err := (&vsock.Dialer{Stack: s, Timeout: c.Timeout}).Dial(ctx, c.Addr)
		if err != nil {
			return dialStatus(err)
		}
		defer func() { _ = conn.Close() }()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		payload := make([]byte, c.Size)
		_, _ = rand.Read(payload)
		ask = func() error { return c.echo(conn, payload) }
	}
	r, err := c.run(ctx, out, func() error { return c.gone(s, ask()) })
	if err != nil {
		return err
	}
	if c.JSON {
		if err := writeJSON(out, r); err != nil {
			return err
		}
	} else {
		_, _ = fmt.Fprintf(out, "%d sent, %d answered, %d refused", r.Sent, r.Answered, r.Refused)
		if r.Answered > 0 {
			_, _ = fmt.Fprintf(out, "; min/median/mean/max/stddev %v/%v/%v/%v/%v", r.Min, r.Median, r.Mean, r.Max, r.StdDev)
		}
		_, _ = fmt.Fprintln(out)
	}
	if r.Answered == 0 {
		return withStatus(exitUnreachable, fmt.Errorf("%s does not answer; does something listen there, and may this context reach it?", c.Addr))
	}
	return nil
}

// run asks as often as it is to, or until the context ends.
func (c *pingCommand) run(ctx context.Context, out io.Writer, ask func() error) (*pingReport, error) {
	r := &pingReport{Addr: c.Addr}
	next := time.NewTicker(max(c.Interval, 1))
	defer next.Stop()
	for n := 1; c.Count == 0 || n <= c.Count; n++ {
		start := time.Now()
		err := ask()
		took := time.Since(start)
		if ctx.Err() != nil {
			break
		}
		r.Sent++
		said := fmt.Sprintf("time=%v", took.Round(time.Microsecond/10))
		var over *statusError
		switch {
		case errors.As(err, &over):
			return nil, err
		case err == nil:
			r.times = append(r.times, took)
		case errors.Is(err, syscall.ECONNREFUSED):
			r.Refused++
			said = "refused, " + said
		case c.Echo:
			return nil, withStatus(exitCut, err)
		default:
			said = err.Error()
		}
		if !c.JSON {
			_, _ = fmt.Fprintf(out, "%s: seq=%d %s\n", c.Addr, n, said)
		}
		if n == c.Count {
			break
		}
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
	r.sum()
	return r, nil
}

// sum fills the statistics in.
func (r *pingReport) sum() {
	if r.Answered = len(r.times); r.Answered == 0 {
		return
	}
	slices.Sort(r.times)
	var sum, squares float64
	for _, t := range r.times {
		sum += float64(t)
		squares += float64(t) * float64(t)
	}
	n := float64(r.Answered)
	mean := sum / n
	r.Min, r.Max, r.Median = r.times[0], r.times[r.Answered-1], r.times[r.Answered/2]
	r.Mean = time.Duration(mean)
	r.StdDev = time.Duration(math.Sqrt(max(squares/n-mean*mean, 0)))
}

func (c *pingCommand) connect(ctx context.Context, s vsockets.Stack) error {
	conn, err := (&vsock.Dialer{Stack: s, Timeout: c.Timeout}).Dial(ctx, c.Addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (c *pingCommand) echo(conn *vsock.Conn, payload []byte) error {
	if err := conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(payload)
		sent <- err
	}()
	got := make([]byte, len(payload))
	_, err := io.ReadFull(conn, got)
	if err := errors.Join(<-sent, err); err != nil {
		return fmt.Errorf("%s does not echo: %w", c.Addr, err)
	}
	if !bytes.Equal(got, payload) {
		return fmt.Errorf("%s does not echo: it sends something else back", c.Addr)
	}
	return nil
}
