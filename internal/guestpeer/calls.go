package guestpeer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// request is what a Client sends, as JSON: the call of a command, or the end of one
// that its caller has given up.
type request struct {
	ID     uint64
	Name   string          `json:",omitempty"`
	Args   json.RawMessage `json:",omitempty"`
	Cancel bool            `json:",omitempty"`
}

// response is the outcome of the call.
type response struct {
	ID    uint64
	Value json.RawMessage `json:",omitempty"`
	Err   *WireError      `json:",omitempty"`
}

// ServeCalls runs the commands of a Client that come over a connection, all at the same
// time, and returns when that has ended.
func (p *Peer) ServeCalls(c io.ReadWriter) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var mu sync.Mutex // of writing, and of cancels
	cancels := make(map[uint64]context.CancelFunc)
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	for {
		var q request
		if err := in.Decode(&q); err != nil {
			return
		}
		mu.Lock()
		if q.Cancel {
			if cancel := cancels[q.ID]; cancel != nil {
				cancel()
			}
			mu.Unlock()
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		cancels[q.ID] = cancel
		mu.Unlock()
		running.Go(func() {
			r := p.answer(ctx, &q)
			cancel()
			mu.Lock()
			defer mu.Unlock()
			delete(cancels, q.ID)
			_ = out.Encode(r) // if it fails, so does reading
		})
	}
}

func (p *Peer) answer(ctx context.Context, q *request) response {
	r := response{ID: q.ID}
	h := p.Handlers()[q.Name]
	if h == nil {
		r.Err = ToWire(fmt.Errorf("guestpeer: no command %q", q.Name))
		return r
	}
	v, err := h(ctx, q.Args)
	if err == nil {
		r.Value, err = json.Marshal(v)
	}
	r.Err = ToWire(err)
	return r
}

// Client runs the commands of a Peer over a connection to a listener of it with
// ServiceCalls. It is a Caller that takes less time for a call than a guest's
// control line, and far less for bytes. But it is nothing for tests of that very
// connection: it must be known to work.
type Client struct {
	conn io.ReadWriteCloser

	writing sync.Mutex
	out     *json.Encoder

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan response // buffered: 1
	ended   chan struct{}            // closed when reading has ended; then err is set
	err     error
}

// NewClient takes over a connection.
func NewClient(c io.ReadWriteCloser) *Client {
	cl := &Client{conn: c, out: json.NewEncoder(c), waiting: make(map[uint64]chan response), ended: make(chan struct{})}
	go cl.receive()
	return cl
}

// Close ends what is under way.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.ended
	return err
}

func (c *Client) receive() {
	defer close(c.ended)
	in := json.NewDecoder(c.conn)
	for {
		var r response
		if err := in.Decode(&r); err != nil {
			c.err = fmt.Errorf("guestpeer: the connection to the peer: %w", err)
			return
		}
		c.mu.Lock()
		if w := c.waiting[r.ID]; w != nil {
			w <- r
		}
		delete(c.waiting, r.ID)
		c.mu.Unlock()
	}
}

func (c *Client) send(q request) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.out.Encode(q)
}

// Call runs a command, see Caller.
func (c *Client) Call(ctx context.Context, name string, args, result any) error {
	if err := ctx.Err(); err != nil {
		return err // nothing is begun
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	w := make(chan response, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = w
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}()
	if err := c.send(request{ID: id, Name: name, Args: raw}); err != nil {
		return err
	}
	select {
	case r := <-w:
		if r.Err != nil {
			return fromWire(r.Err)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Value, result)
	case <-c.ended:
		return c.err
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), c.send(request{ID: id, Cancel: true}))
	}
}
