package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// streams does a job on connections that stay. All are open before the clock
// starts; it stops when the last report is there, so that all bytes have arrived.
func (c *Client) streams(ctx context.Context, j Job) (r Result, err error) {
	conns := make([]net.Conn, 0, j.Streams)
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	for range j.Streams {
		conn, err := c.dial(ctx, j.Time)
		if err != nil {
			return Result{}, err
		}
		conns = append(conns, conn)
	}
	stop := context.AfterFunc(ctx, func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	defer stop()

	run := map[Kind]func(net.Conn, Job, *hdrhistogram.Histogram) (uint64, error){
		Up: c.up, Down: c.down, Echo: c.echo,
	}[j.Kind]
	var bytes atomic.Uint64
	times := make([]*hdrhistogram.Histogram, j.Streams)
	if j.Kind == Echo {
		for i := range times {
			times[i] = newHistogram()
		}
	}
	start := time.Now()
	err = each(j.Streams, conns, func(i int) error {
		n, err := run(conns[i], j, times[i])
		bytes.Add(n)
		return err
	})
	r.Elapsed, r.Bytes = time.Since(start), bytes.Load()
	if err == nil && j.Kind == Echo {
		r.Latency = LatencyOf(times...)
		r.Ops = r.Bytes / uint64(j.Block)
	}
	return r, err
}

func (c *Client) ask(conn net.Conn, op Op, j Job) error {
	req := request{op: op, block: uint32(j.Block), time: j.Time}
	if _, err := conn.Write(req.append(nil)); err != nil {
		return fmt.Errorf("bench: send the request: %w", err)
	}
	return nil
}

func (c *Client) up(conn net.Conn, j Job, _ *hdrhistogram.Histogram) (uint64, error) {
	if err := c.ask(conn, OpReceive, j); err != nil {
		return 0, err
	}
	n, err := sendBlocks(conn, j.Block, j.Time, &c.moved)
	if err != nil {
		return 0, err
	}
	return n, confirm(conn, nil, n)
}

func (c *Client) down(conn net.Conn, j Job, _ *hdrhistogram.Histogram) (uint64, error) {
	if err := c.ask(conn, OpSend, j); err != nil {
		return 0, err
	}
	n, rest, err := receiveBlocks(conn, j.Block, make([]byte, ReadBuffer), &c.moved)
	if err != nil {
		return 0, err
	}
	return n, confirm(conn, rest, n)
}

func (c *Client) echo(conn net.Conn, j Job, times *hdrhistogram.Histogram) (n uint64, err error) {
	if err := c.ask(conn, OpEcho, j); err != nil {
		return 0, err
	}
	out, in := make([]byte, j.Block), make([]byte, j.Block)
	now := time.Now()
	for end := now.Add(j.Time); out[0] == 0; {
		if now.After(end) {
			out[0] = 1
		}
		if _, err := conn.Write(out); err != nil {
			return n, fmt.Errorf("bench: round trip: write: %w", err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			return n, fmt.Errorf("bench: round trip: read: %w", noEOF(err))
		}
		after := time.Now()
		if err := times.RecordValue(max(1, int64(after.Sub(now)))); err != nil {
			return n, fmt.Errorf("bench: round trip of %v: %w", after.Sub(now), err)
		}
		now = after
		n += uint64(j.Block)
		c.ops.Add(1)
	}
	return n, confirm(conn, nil, n)
}

// confirm reads the report, and holds the server's count against ours.
func confirm(conn net.Conn, rest []byte, n uint64) error {
	rep, err := readReport(conn, rest)
	if err == nil && rep.bytes != n {
		err = fmt.Errorf("bench: the server counts %d bytes, and we %d", rep.bytes, n)
	}
	return err
}

// maxFailed is how many connections of a stream may fail before the job does.
const maxFailed = 3

// connects opens and ends connections, one after another on each of the streams.
// Those that fail are counted, and their time is not.
func (c *Client) connects(ctx context.Context, j Job) (r Result, err error) {
	var mu sync.Mutex // of r and lost
	var lost time.Duration
	all := newHistogram()
	start := time.Now()
	err = each(j.Streams, nil, func(int) error {
		s := connecting{c: c, times: newHistogram()}
		err := s.run(ctx, j.Time)
		mu.Lock()
		defer mu.Unlock()
		r.Failed += s.failed
		lost += s.lost
		all.Merge(s.times)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	r.Ops, r.Latency = uint64(all.TotalCount()), LatencyOf(all)
	r.Elapsed = time.Since(start) - lost/time.Duration(j.Streams)
	return r, nil
}

// connecting is one stream of connects.
type connecting struct {
	c      *Client
	times  *hdrhistogram.Histogram
	failed uint64
	lost   time.Duration // with what failed
}

func (s *connecting) run(ctx context.Context, d time.Duration) error {
	now := time.Now()
	for start := now; now.Sub(start)-s.lost < d; {
		_, err := s.c.answer(ctx)
		took := time.Since(now)
		now = now.Add(took)
		if err != nil {
			s.failed++
			s.lost += took
			if s.failed > maxFailed || ctx.Err() != nil {
				return fmt.Errorf("%d connections failed, %d did not; the last: %w", s.failed, s.times.TotalCount(), err)
			}
			continue
		}
		if err := s.times.RecordValue(max(1, int64(took))); err != nil {
			return fmt.Errorf("bench: a connection of %v: %w", took, err)
		}
		s.c.ops.Add(1)
	}
	return nil
}
