package testguest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"vsockets.dev/internal/testguest/channel"
)

// powerOffLimit is how long a guest may take for an orderly end.
const powerOffLimit = 5 * time.Second

// instance is the running guest as launch leaves it: a line to its agent and a way to end it.
type instance struct {
	in, out io.Closer // the host's ends of the line
	conn    *channel.Conn
	console *console
	kill    func()        // at once, no matter what state the guest is in
	look    func() string // what the guest's processes on the host do
	wait    func() error  // until nothing of the guest is left; called once
}

// Guest is a running guest.
type Guest struct {
	instance *instance
	hello    channel.Hello
	stop     context.CancelFunc // releases the time limit

	mu       sync.Mutex
	why      error // why it was killed, nil if it was not
	nextID   uint32
	requests map[uint32]*request
	ended    bool
	stacks   chan string // not nil when the time is over: where the agent's goroutines are

	received chan struct{} // closed when the line has ended
	done     chan struct{} // closed when nothing of the guest is left; then err is set
	err      error
}

// request is a program or call that is under way.
type request struct {
	stdout, stderr io.Writer
	writeErr       error               // the first error of those two; set before result is sent
	result         chan channel.Result // buffered: 1
}

// Boot boots a guest, and returns when its agent has said hello. The guest is
// killed when ctx ends, at any time.
func Boot(ctx context.Context, cfg Config) (*Guest, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, fmt.Errorf("testguest: %w", err)
	}
	if err := cfg.Machine.Available(); err != nil {
		return nil, err
	}
	m, err := launch(&cfg)
	if err != nil {
		return nil, fmt.Errorf("testguest: start the guest: %w", err)
	}
	ctx, stop := context.WithTimeoutCause(ctx, cfg.TimeLimit, ErrTimeLimit)
	g := &Guest{
		instance: m, stop: stop,
		requests: make(map[uint32]*request),
		received: make(chan struct{}), done: make(chan struct{}),
	}
	hello := make(chan channel.Hello, 1)
	go g.receive(hello)
	go g.waitEnd()
	context.AfterFunc(ctx, func() {
		why := context.Cause(ctx)
		if errors.Is(why, ErrTimeLimit) {
			why = g.explain(why)
		}
		g.killFor(why)
	})

	select {
	case g.hello = <-hello:
		return g, nil
	case <-g.received:
		// The line ends before the guest: what it did last, or the reason why
		// it was killed, is known only then. It has not much time left.
		select {
		case <-g.done:
		case <-time.After(powerOffLimit):
			g.killFor(ErrKilled)
			<-g.done
		}
		return nil, fmt.Errorf("testguest: boot: %w; %s", g.endReason(), m.console.end())
	}
}

// Kernel gives the release of the guest's kernel.
func (g *Guest) Kernel() string { return g.hello.Kernel }

// CID gives the guest's context ID at boot, 0 if it had none.
func (g *Guest) CID() uint32 { return g.hello.CID }

// receive serves the line until it ends.
func (g *Guest) receive(hello chan<- channel.Hello) {
	defer close(g.received)
	for {
		m, err := g.instance.conn.Receive()
		if err == nil {
			err = g.take(&m, hello)
		}
		if err != nil {
			// A guest that talks nonsense is of no more use than one that hung up.
			if !errors.Is(err, io.EOF) {
				g.killFor(err)
			}
			_ = g.instance.conn.Fail(err)
			return
		}
	}
}

func (g *Guest) take(m *channel.Message, hello chan<- channel.Hello) error {
	if m.Kind == channel.KindHello {
		var h channel.Hello
		if err := m.Decode(&h); err != nil {
			return err
		}
		select {
		case hello <- h:
			return nil
		default:
			return errors.New("the guest said hello twice")
		}
	}
	if m.Kind == channel.KindStacks {
		return g.takeStacks(string(m.Body))
	}
	g.mu.Lock()
	r := g.requests[m.ID]
	g.mu.Unlock()
	if r == nil {
		return nil // its caller gave up
	}
	switch m.Kind {
	case channel.KindStdout:
		r.write(r.stdout, m.Body)
		return nil
	case channel.KindStderr:
		r.write(r.stderr, m.Body)
		return nil
	case channel.KindResult:
		var res channel.Result
		if err := m.Decode(&res); err != nil {
			return err
		}
		g.forget(m.ID)
		r.result <- res
		return nil
	}
	return fmt.Errorf("message of kind %d on the way to the host", m.Kind)
}

func (r *request) write(w io.Writer, b []byte) {
	if w == nil || r.writeErr != nil {
		return
	}
	if _, err := w.Write(b); err != nil {
		r.writeErr = fmt.Errorf("pass its output on: %w", err)
	}
}

// Run runs a program in the guest and gives its exit status, 128 + n if signal n ended it.
// When ctx ends, the program and its process group are killed, and the guest goes on.
func (g *Guest) Run(ctx context.Context, cmd Command) (exit int, err error) {
	body := channel.Command{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir}
	res, err := g.do(ctx, channel.KindRun, body, &request{stdout: cmd.Stdout, stderr: cmd.Stderr})
	if err != nil {
		return 0, fmt.Errorf("testguest: run %s: %w", cmd.Path, err)
	}
	return res.Exit, nil
}

// Call calls a function that the guest's init registered with guest.Handle.
// args and the result are JSON; result may be nil. An errno in the function's
// error is in the error here too.
func (g *Guest) Call(ctx context.Context, name string, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("testguest: call %s: arguments: %w", name, err)
	}
	res, err := g.do(ctx, channel.KindCall, channel.Call{Name: name, Args: raw}, &request{})
	if err != nil {
		return fmt.Errorf("testguest: call %s: %w", name, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(res.Value, result); err != nil {
		return fmt.Errorf("testguest: call %s: result: %w", name, err)
	}
	return nil
}

func (g *Guest) do(ctx context.Context, kind channel.Kind, body any, r *request) (channel.Result, error) {
	r.result = make(chan channel.Result, 1)
	g.mu.Lock()
	g.nextID++
	id := g.nextID
	g.requests[id] = r
	g.mu.Unlock()
	defer g.forget(id)

	if err := g.instance.conn.SendJSON(kind, id, body); err != nil {
		select {
		case <-g.received:
			return channel.Result{}, g.lineEnded()
		default:
			return channel.Result{}, err
		}
	}
	select {
	case res := <-r.result:
		if !g.timeOver() {
			return r.finish(res)
		}
		<-g.received // what explain has ended has no result
	case <-g.received:
	case <-ctx.Done():
		// Not waited for, since the guest may be stuck. If it fails, the guest is
		// at its end, and so is the program.
		go func() { _ = g.instance.conn.Send(channel.KindCancel, id, nil) }()
		return channel.Result{}, context.Cause(ctx)
	}
	select {
	case res := <-r.result: // it was the last to come before the end
		if !g.timeOver() {
			return r.finish(res)
		}
	default:
	}
	return channel.Result{}, g.lineEnded()
}

func (r *request) finish(res channel.Result) (channel.Result, error) {
	if res.Err != nil {
		return channel.Result{}, res.Err
	}
	return res, r.writeErr
}

func (g *Guest) forget(id uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.requests, id)
}

// lineEnded says why there is no answer to come any more.
func (g *Guest) lineEnded() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why != nil {
		return g.why
	}
	return ErrEnded
}
