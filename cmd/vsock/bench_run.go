package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"vsockets.dev/internal/bench"
)

// benchServe is the far end.
type benchServe struct {
	benchAddr
	MaxConns int  `default:"2048" help:"The most connections at a time."`
	JSON     bool `name:"json" help:"Tell where it serves as JSON."`
}

// Help is what --help shows beside the flags.
func (*benchServe) Help() string {
	return `Serves until a signal; it is as open as its address is, so choose that with care.

Examples:

  vsock bench serve any:5000

  vsock bench serve unix:/run/user/1000/bench.sock

` + exitHelp
}

// Run serves until it is interrupted.
func (b *benchServe) Run(ctx context.Context, out io.Writer) error {
	if b.MaxConns < 1 {
		return withStatus(exitUsage, fmt.Errorf("--max-conns is %d; it must be at least 1", b.MaxConns))
	}
	l, err := b.listen(ctx)
	if err != nil {
		return err
	}
	if b.JSON {
		err = writeJSON(out, struct {
			Network string `json:"network"`
			Addr    string `json:"addr"`
		}{l.Addr().Network(), l.Addr().String()})
	} else {
		_, err = fmt.Fprintf(out, "serving measurements on %s\n", l.Addr())
	}
	if err != nil { // who asked for it never learns where it is
		_ = l.Close()
		return err
	}
	s := bench.Server{MaxConns: b.MaxConns, Log: func(err error) { _, _ = fmt.Fprintln(os.Stderr, "vsock:", err) }}
	return s.Serve(ctx, patientListener(l, os.Stderr))
}

// benchRun is the measuring end.
type benchRun struct {
	benchAddr
	Sizes   []byteSize    `default:"64,4k,64k" help:"Bytes in each block."`
	Streams int           `default:"1" help:"Connections at a time."`
	Time    time.Duration `default:"5s" help:"How long each measurement takes."`
	JSON    bool          `help:"Print everything, as JSON."`
}

// Help is what --help shows beside the flags.
func (*benchRun) Help() string {
	return `Measures how much goes each way, round trips and new connections, to a vsock bench serve.

Examples:

  vsock bench run 3:5000

  vsock bench run --stack switch:/run/vsock/attach.sock host:5000 --sizes 64,64k --streams 4 --json

` + exitHelp
}

// byteSize is a number of bytes; k and m stand for KiB and MiB.
type byteSize int

// UnmarshalText reads 64, 4k or 1m.
func (s *byteSize) UnmarshalText(text []byte) error {
	digits, unit := strings.ToLower(string(text)), 1
	if d, ok := strings.CutSuffix(digits, "k"); ok {
		digits, unit = d, 1<<10
	} else if d, ok := strings.CutSuffix(digits, "m"); ok {
		digits, unit = d, 1<<20
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > bench.MaxBlock/unit {
		return fmt.Errorf("%q is no size from 1 to %dm", text, bench.MaxBlock>>20)
	}
	*s = byteSize(n * unit)
	return nil
}

// benchResult is a line of a run.
type benchResult struct {
	Job    bench.Job    `json:"job"`
	Result bench.Result `json:"result"`
}

// benchEcho is the size of blocks of round trips.
const benchEcho = 64

func (b *benchRun) jobs() (jobs []bench.Job) {
	for _, kind := range []bench.Kind{bench.Up, bench.Down} {
		for _, size := range b.Sizes {
			jobs = append(jobs, bench.Job{Kind: kind, Block: int(size), Streams: b.Streams, Time: b.Time})
		}
	}
	return append(jobs,
		bench.Job{Kind: bench.Echo, Block: benchEcho, Streams: b.Streams, Time: b.Time},
		bench.Job{Kind: bench.Connect, Streams: b.Streams, Time: b.Time})
}

// Run measures.
func (b *benchRun) Run(ctx context.Context, out io.Writer) error {
	dial, err := b.dialer()
	if err != nil {
		return err
	}
	jobs := b.jobs()
	for _, j := range jobs {
		if err := j.Check(); err != nil {
			return err
		}
	}
	client := &bench.Client{Dial: dial}
	var all []benchResult
	for _, j := range jobs {
		stop := follow(client, j)
		r, err := client.Run(ctx, j)
		stop()
		if err != nil {
			return benchStatus(ctx, fmt.Errorf("%s: %w", strings.Join(strings.Fields(title(j)), " "), err))
		}
		all = append(all, benchResult{j, r})
		if !b.JSON {
			_, _ = fmt.Fprintln(out, line(j, r))
		}
	}
	if !b.JSON {
		return nil
	}
	return writeJSON(out, all)
}

// benchStatus tells a far end that is not there from one that goes away.
func benchStatus(ctx context.Context, err error) error {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w; is it running? vsock bench serve is the far end", dialStatus(err))
	case errors.As(err, &op):
		return withStatus(exitCut, err)
	}
	return err
}

// title says what a job is.
func title(j bench.Job) string {
	switch j.Kind {
	case bench.Up, bench.Down:
		return fmt.Sprintf("%-4s %7d bytes", j.Kind, j.Block)
	case bench.Echo:
		return fmt.Sprintf("round trips, %d bytes", j.Block)
	}
	return "connections"
}

// line says what a job came to.
func line(j bench.Job, r bench.Result) string {
	s := fmt.Sprintf("%-24s", title(j))
	if r.Latency == nil {
		return s + fmt.Sprintf("%9.3f Gb/s  %8.3f CPU s/GB", r.BytesPerSecond()*8/1e9, r.CPUPerGB())
	}
	l := r.Latency
	return s + fmt.Sprintf("%9.0f /s    p50 %v  p99 %v  p99.9 %v", r.OpsPerSecond(),
		time.Duration(l.P50), time.Duration(l.P99), time.Duration(l.P999))
}

// liveEvery is how often the live line changes.
const liveEvery = 200 * time.Millisecond

// follow shows how a job goes, until stop.
func follow(c *bench.Client, j bench.Job) (stop func()) {
	l := newLiveLine(os.Stderr)
	if l.f == nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer l.clear()
		tick := time.NewTicker(liveEvery)
		defer tick.Stop()
		bytes, ops := c.Progress()
		for last := time.Now(); ; {
			select {
			case <-end:
				return
			case now := <-tick.C:
				b, o := c.Progress()
				s := now.Sub(last).Seconds()
				l.show(fmt.Sprintf("%-24s%9.3f Gb/s %9.0f /s", title(j), float64(b-bytes)*8/1e9/s, float64(o-ops)/s))
				bytes, ops, last = b, o, now
			}
		}
	}()
	return func() { close(end); <-ended }
}
