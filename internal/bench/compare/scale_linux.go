package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"vsockets.dev/internal/bench"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// Scale measures what many contexts and connections cost.
func Scale(ctx context.Context, c ScaleConfig) (_ *ScaleReport, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vsock-scale-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	rep := &ScaleReport{Version: reportVersion, Machine: describeMachine(), Rounds: c.Rounds, Time: c.Time}
	c.tell("idle contexts and connections")
	if rep.Idle, err = idle(ctx, dir, c); err != nil {
		return nil, err
	}
	l := new(chain)
	defer func() { err = errors.Join(err, l.Close()) }()
	open := func(t transport) (link, error) {
		own := filepath.Join(dir, t.Name())
		if err := os.Mkdir(own, 0o700); err != nil {
			return nil, err
		}
		k, err := t.Open(ctx, own, c.Child)
		if err == nil {
			l.add(k.Close)
		}
		return k, err
	}
	host, err := open(attachHost{})
	if err != nil {
		return nil, err
	}
	unix, err := open(sockets{"unix"})
	if err != nil {
		return nil, err
	}
	busy := startBusy()
	if err := c.streams(ctx, host, unix, rep); err != nil {
		return nil, err
	}
	if err := c.crowds(ctx, host, rep); err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	rep.Machine.OthersBusy = busy.others() // now that the children have ended, they are not others
	rep.summarize()
	return rep, nil
}

// idle attaches contexts, opens connections to the host on each, and looks what
// that takes. All ends are in this process, so that it takes less than this.
func idle(ctx context.Context, dir string, c ScaleConfig) (r IdleCost, err error) {
	r.Contexts, r.Conns = c.Contexts, c.Contexts*(c.Conns/c.Contexts)
	l := new(chain)
	defer func() { err = errors.Join(err, l.Close()) }()
	sw := vswitch.New(vswitch.Config{})
	l.add(sw.Close)
	ln, err := vsock.Listen(ctx, sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: port})
	if err != nil {
		return r, err
	}
	config := attachConfig(dir)
	if _, err := sw.AddAttach(config); err != nil {
		return r, err
	}
	stacks := make([]attached, c.Contexts)
	for i := range stacks {
		if stacks[i], err = attachTo(ctx, Place{Addr: config.Socket}); err != nil {
			return r, err
		}
		l.add(stacks[i].Close)
	}
	before := memory()
	conns := make([]*vsock.Conn, 0, 2*r.Conns)
	for i := range r.Conns {
		near, err := vsock.Dial(ctx, stacks[i%len(stacks)], vsock.Addr{CID: vsock.CIDHost, Port: port})
		if err != nil {
			return r, fmt.Errorf("compare: idle connection %d: %w", i, err)
		}
		l.add(near.Close)
		far, err := ln.AcceptConn()
		if err != nil {
			return r, err
		}
		l.add(far.Close)
		conns = append(conns, near, far)
	}
	r.BytesPerConn = (memory() - before) / float64(len(conns))

	cpu, start := bench.CPUTime(), time.Now()
	select {
	case <-ctx.Done():
		return r, ctx.Err()
	case <-time.After(c.IdleTime):
	}
	r.CPUShare = (bench.CPUTime() - cpu).Seconds() / time.Since(start).Seconds()
	runtime.KeepAlive(conns)
	return r, nil
}

// memory is what this process has in use, after what is not is given back.
func memory() float64 {
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// streams compares one stream with many, and many with a slow one among them.
func (c *ScaleConfig) streams(ctx context.Context, host, unix link, rep *ScaleReport) error {
	for round := range c.Rounds {
		for _, kind := range []bench.Kind{bench.Up, bench.Down} {
			for _, job := range []struct {
				link link
				Point
			}{
				{host, Point{Conns: 1}}, {host, Point{Conns: c.Streams}}, {host, Point{Conns: c.Streams - 1, Stalled: 1}},
				{unix, Point{Over: overUnix, Conns: 1}}, {unix, Point{Over: overUnix, Conns: c.Streams}},
				{limit{}, Point{Over: limitName, Conns: 1}}, {limit{}, Point{Over: limitName, Conns: c.Streams}},
			} {
				job.Kind = string(kind)
				c.tell(fmt.Sprintf("round %d: %s, %d streams and %d that nobody reads", round+1, kind, job.Conns, job.Stalled))
				r, err := job.link.Run(ctx, bench.Job{
					Kind: kind, Block: 64 << 10, Streams: job.Conns, Time: c.Time, Extra: bench.Extra{Stalled: job.Stalled},
				})
				if errors.Is(err, errors.ErrUnsupported) {
					continue // the limit has one direction
				}
				if err != nil {
					return fmt.Errorf("compare: %s with %d streams: %w", kind, job.Conns, err)
				}
				rep.add(job.Point, r.BytesPerSecond()*8/1e9)
			}
		}
	}
	return nil
}

// crowds measures what a connection costs beside more and more of them.
func (c *ScaleConfig) crowds(ctx context.Context, l link, rep *ScaleReport) error {
	for range c.Rounds {
		for n := 10; n <= c.Conns; n *= 10 {
			c.tell(fmt.Sprintf("connections beside %d idle ones", n))
			extra := bench.Extra{Idle: n}
			r, err := l.Run(ctx, bench.Job{Kind: bench.Connect, Streams: 1, Time: c.Time, Extra: extra})
			if err != nil {
				return fmt.Errorf("compare: beside %d connections: %w", n, err)
			}
			rep.add(Point{Kind: "connect", Conns: n}, r.OpsPerSecond())
			if r, err = l.Run(ctx, bench.Job{Kind: bench.Echo, Block: echoBlock, Streams: 1, Time: c.Time, Extra: extra}); err != nil {
				return fmt.Errorf("compare: beside %d connections: %w", n, err)
			}
			rep.add(Point{Kind: "echo", Conns: n}, float64(r.Latency.P50)/1e3)
		}
	}
	return nil
}
