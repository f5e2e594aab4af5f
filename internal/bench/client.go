package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Client is the measuring end.
type Client struct {
	// Dial opens a connection to a Server.
	Dial func(ctx context.Context) (net.Conn, error)

	moved, ops atomic.Uint64
}

// Progress tells how many bytes and operations the client has moved so far, in
// all of its jobs. It may be called while one runs.
func (c *Client) Progress() (bytes, ops uint64) { return c.moved.Load(), c.ops.Load() }

// Run does one job.
func (c *Client) Run(ctx context.Context, j Job) (r Result, err error) {
	if err := j.Check(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.Time+3*Grace)
	defer cancel()

	closeExtra, err := j.Extra.open(ctx, c)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, closeExtra()) }()
	before, err := c.usage(ctx)
	if err != nil {
		return Result{}, err
	}
	if j.Kind == Connect {
		r, err = c.connects(ctx, j)
	} else {
		r, err = c.streams(ctx, j)
	}
	if err != nil {
		return Result{}, err
	}
	after, err := c.usage(ctx)
	if err != nil {
		return Result{}, err
	}
	r.CPU = after.sum() - before.sum()
	return r, nil
}

// usage is the CPU time of both ends so far.
type usage struct{ near, far time.Duration }

func (u usage) sum() time.Duration { return u.near + u.far }

func (c *Client) usage(ctx context.Context) (usage, error) {
	rep, err := c.answer(ctx)
	if err != nil {
		return usage{}, err
	}
	u := usage{near: CPUTime()}
	if rep.process != process {
		u.far = rep.cpu
	}
	return u, nil
}

// answer connects for an answer alone.
func (c *Client) answer(ctx context.Context) (report, error) {
	conn, err := c.dial(ctx, 0)
	if err != nil {
		return report{}, err
	}
	defer func() { _ = conn.Close() }()
	var msg [messageSize]byte
	if _, err := conn.Write(request{op: OpAnswer, block: 1}.append(msg[:0])); err != nil {
		return report{}, fmt.Errorf("bench: send the request: %w", err)
	}
	return readReport(conn, nil)
}

func (c *Client) dial(ctx context.Context, d time.Duration) (net.Conn, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("bench: connect: %w", err)
	}
	if err := conn.SetDeadline(time.Now().Add(d + Grace)); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("bench: set a deadline: %w", err)
	}
	return conn, nil
}

// readReport reads a report, of which rest is there already.
func readReport(r io.Reader, rest []byte) (report, error) {
	var msg [messageSize]byte
	if len(rest) > len(msg) {
		return report{}, errors.New("bench: the server sent more than its report")
	}
	n := copy(msg[:], rest)
	if _, err := io.ReadFull(r, msg[n:]); err != nil {
		return report{}, fmt.Errorf("bench: read the report: %w", noEOF(err))
	}
	return parseReport(&msg)
}

// newHistogram is for all times that a job can see, with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(MaxTime+2*Grace), 3)
}

// each runs f for every stream, and ends all connections if one fails.
func each(n int, conns []net.Conn, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if errs[i] = f(i); errs[i] != nil {
				for _, c := range conns {
					_ = c.Close()
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
