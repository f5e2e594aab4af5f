package guestpeer

import (
	"context"
	"fmt"
	"io"

	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

// Try asks for a connection that need not go well. Its errors are part of the outcome,
// and cross as what they are.
type Try struct {
	To    vsock.Addr
	Bytes int64
	Seed  uint64 // of the bytes
	How   string // HowSend and so on
}

// What is done with a connection.
const (
	HowSend  = "send"  // to ServiceReceive, whose answer is checked
	HowEcho  = "echo"  // to ServiceEcho and back, both directions at the same time
	HowAbort = "abort" // sent, and then reset
)

// Tried is the outcome.
type Tried struct {
	Connected bool
	Err       *WireError `json:",omitempty"`
}

// Error is why it failed, nil if it did not.
func (t Tried) Error() error { return fromWire(t.Err) }

func (p *Peer) try(ctx context.Context, a Try) (Tried, error) {
	c, err := vsock.Dial(ctx, p.stack, a.To)
	if err != nil {
		return Tried{Err: ToWire(err)}, nil
	}
	defer func() { _ = c.Close() }()
	switch a.How {
	case HowSend:
		err = transfer.Send(c, a.Bytes, a.Seed, nil)
	case HowEcho:
		err = transfer.Exchange(c, a.Bytes, a.Seed)
	case HowAbort:
		_, err = io.CopyN(c, zeros{}, a.Bytes)
		reset(c)
	default:
		err = fmt.Errorf("guestpeer: no way %q to try a connection", a.How)
	}
	return Tried{Connected: true, Err: ToWire(err)}, nil
}

// zeros is as many as one likes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// reset has the Close that follows end the connection abruptly, where the stack can.
func reset(c *vsock.Conn) { _ = c.SetLinger(0) }

// dropAfter is how much is read of a connection that is reset then.
const dropAfter = 100 << 10

func drop(c *vsock.Conn) {
	_, _ = io.CopyN(io.Discard, c, dropAfter)
	reset(c)
}
