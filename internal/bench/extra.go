package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// MaxExtra is the most connections that a job opens beside its own.
const MaxExtra = 16 << 10

// Extra are connections that are open while a job runs, and not a part of it.
type Extra struct {
	Idle    int // nothing moves on them
	Stalled int // the server sends all it can, and the client reads none of it
}

func (e Extra) check() error {
	if e.Idle < 0 || e.Stalled < 0 || e.Idle > MaxExtra || e.Stalled > MaxExtra {
		return fmt.Errorf("bench: %d idle and %d stalled connections; choose 0 to %d", e.Idle, e.Stalled, MaxExtra)
	}
	return nil
}

// open opens them. The server waits for blocks on the idle ones.
func (e Extra) open(ctx context.Context, c *Client) (closeAll func() error, err error) {
	var conns []net.Conn
	closeAll = func() error {
		var errs []error
		for _, conn := range conns {
			errs = append(errs, conn.Close())
		}
		return errors.Join(errs...)
	}
	for i := range e.Idle + e.Stalled {
		conn, err := c.dial(ctx, MaxTime)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("bench: extra connection %d: %w", i, err), closeAll())
		}
		conns = append(conns, conn)
		j := Job{Block: 1, Time: MaxTime}
		op := OpEcho
		if i >= e.Idle {
			j.Block, op = ReadBuffer, OpSend
		}
		if err := c.ask(conn, op, j); err != nil {
			return nil, errors.Join(err, closeAll())
		}
	}
	return closeAll, nil
}
