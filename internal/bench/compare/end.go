package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"time"

	"vsockets.dev/internal/bench"
	"vsockets.dev/vsock"
)

// Limits of a child. It ends with its standard input, and so with its parent.
const (
	endLife  = time.Hour       // however long the parent lives
	endGrace = 5 * time.Second // from the end of its input to being killed
)

// attachNetwork is the network of a Place that is attached by shared memory.
const attachNetwork = "attach"

// Place says where an end is.
type Place struct {
	Network string // unix, tcp, hybrid or attach
	Addr    string // what to connect to
	CID     uint32 // of the server, where the network is attach
	Serve   bool   // it is the server's end

	// Foreign says that Addr is not a socket of our switch, but of another device.
	Foreign bool
}

// childFunc makes the command of a child, which calls ServeEnd.
type childFunc func(ctx context.Context) *exec.Cmd

// end is a child, as its parent sees it.
type end struct {
	cmd *exec.Cmd
	rpc *rpc.Client
	cid uint32 // its own, where it is attached
}

type pipes struct {
	io.ReadCloser
	w io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.w.Close(), p.ReadCloser.Close()) }

func startEnd(ctx context.Context, child childFunc, p Place) (*end, error) {
	cmd := child(context.WithoutCancel(ctx)) // Close ends it
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("compare: start the other end's process: %w", err)
	}
	e := &end{cmd: cmd, rpc: rpc.NewClient(pipes{out, in})}
	if err := e.call(ctx, "End.Open", p, &e.cid); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Run has the child do a job.
func (e *end) Run(ctx context.Context, j bench.Job) (r bench.Result, err error) {
	err = e.call(ctx, "End.Run", j, &r)
	return r, err
}

func (e *end) call(ctx context.Context, method string, args, reply any) error {
	call := e.rpc.Go(method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the child, by force if need be.
func (e *end) Close() error {
	timer := time.AfterFunc(endGrace, func() { _ = e.cmd.Process.Kill() })
	defer timer.Stop()
	_ = e.rpc.Close()
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("compare: the other end's process: %w", err)
	}
	return nil
}

// ServeEnd is what a child does with its standard input and output: it is an end,
// until the input ends.
func ServeEnd(in io.ReadCloser, out io.WriteCloser) error {
	life := time.AfterFunc(endLife, func() { os.Exit(1) })
	defer life.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	h := &endHandler{ctx: ctx}
	s := rpc.NewServer()
	defer cancel()
	if err := s.RegisterName("End", h); err != nil {
		return err
	}
	s.ServeConn(pipes{cancelling{in, cancel}, out})
	return h.close()
}

// cancelling ends jobs when the input ends: the server waits for those.
type cancelling struct {
	io.ReadCloser
	cancel func()
}

func (c cancelling) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		c.cancel()
	}
	return n, err
}

// endHandler has the calls of a child.
type endHandler struct {
	ctx    context.Context
	client bench.Client
	chain  chain
}

func (h *endHandler) close() error { return h.chain.Close() }

// endRPC is what net/rpc looks for in an endHandler.
type endRPC interface {
	Open(p Place, cid *uint32) error
	Run(j bench.Job, r *bench.Result) error
}

var _ endRPC = (*endHandler)(nil)

// Open makes the end, and tells its CID where it has one.
func (h *endHandler) Open(p Place, cid *uint32) error {
	switch p.Network {
	case attachNetwork:
		return h.attach(p, cid)
	case hybridNetwork:
		dial, end := hybridDialer(p)
		h.client.Dial = dial
		h.chain.add(end)
	default:
		h.client.Dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, p.Network, p.Addr)
		}
	}
	return nil
}

// attach makes an end on a device.
func (h *endHandler) attach(p Place, cid *uint32) error {
	st, err := attachTo(h.ctx, p)
	if err != nil {
		return err
	}
	h.chain.add(st.Close)
	if *cid, err = st.LocalCID(); err != nil {
		return err
	}
	if p.Serve {
		l, err := listen(h.ctx, st)
		if err != nil {
			return err
		}
		h.chain.serve(l)
		return nil
	}
	h.client.Dial = dialer(st, vsock.Addr{CID: p.CID, Port: port})
	return nil
}

// Run does a job.
func (h *endHandler) Run(j bench.Job, r *bench.Result) (err error) {
	if h.client.Dial == nil {
		return errors.New("compare: this end is a server's")
	}
	*r, err = h.client.Run(h.ctx, j)
	return err
}
