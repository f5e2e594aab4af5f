// Package guestpeer is the far end of a test or demonstration: it makes socket
// calls on command. In a guest, the commands come over the guest's control line
// and the sockets are the kernel's; in the same program they come by Call, and
// the sockets are those of any stack.
package guestpeer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

// Names of the commands, and what each takes and gives.
const (
	CmdListen  = "vsock.listen" // Listen -> vsock.Addr
	CmdClose   = "vsock.close"  // Port
	CmdSend    = "vsock.send"   // Transfer -> Outcome
	CmdDial    = "vsock.dial"   // Dial -> Outcome
	CmdForward = "tcp.forward"  // Forward -> the TCP address, a string
	CmdTry     = "vsock.try"    // Try -> Tried
)

// Services that a listener of the peer gives to each connection.
const (
	ServiceReceive = "receive" // package transfer's Receive
	ServiceEcho    = "echo"    // what comes goes back
	ServiceRelay   = "relay"   // joined to a new connection to Listen.To
	ServiceTCP     = "tcp"     // joined to a new connection to Listen.TCP
	ServiceCalls   = "calls"   // commands of this peer: see Client
	ServiceDrop    = "drop"    // some of it is read, then the connection is reset
)

// Listen asks for a listener.
type Listen struct {
	Port    uint32
	Service string
	To      vsock.Addr // of ServiceRelay
	TCP     string     // of ServiceTCP
}

// Port names a listener.
type Port struct{ Port uint32 }

// Transfer asks for verified transfers to a receiver, several at once.
type Transfer struct {
	To    vsock.Addr
	Bytes int64 // of each
	Conns int   // how many, at once
}

// Dial asks for a connection.
type Dial struct{ To vsock.Addr }

// Outcome tells how a connection went. Of several, the addresses are one's.
type Outcome struct {
	Local, Remote vsock.Addr
	Took          time.Duration
	Refused       bool // CmdDial only: the other side would not have it
}

// Peer makes socket calls on a stack.
type Peer struct {
	stack   vsock.Stack
	sockets sockets

	mu        sync.Mutex
	listeners map[uint32]*vsock.Listener
	forwards  []net.Listener
	serving   sync.WaitGroup
}

// New makes a peer.
func New(s vsock.Stack) *Peer {
	return &Peer{stack: s, listeners: make(map[uint32]*vsock.Listener)}
}

// Handler is a command: JSON in, a value for JSON out.
type Handler = func(context.Context, json.RawMessage) (any, error)

// Handlers gives the commands by name.
func (p *Peer) Handlers() map[string]Handler {
	return map[string]Handler{
		CmdListen:  handler(p.listen),
		CmdClose:   handler(p.close),
		CmdSend:    handler(p.send),
		CmdDial:    handler(p.dial),
		CmdForward: handler(p.forward),
		CmdTry:     handler(p.try),
		CmdSocket:  handler(p.socket),
	}
}

func handler[A, R any](f func(context.Context, A) (R, error)) Handler {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, fmt.Errorf("guestpeer: arguments: %w", err)
		}
		return f(ctx, args)
	}
}

// Call runs a command here, in the way that a guest runs it.
func (p *Peer) Call(ctx context.Context, name string, args, result any) error {
	h := p.Handlers()[name]
	if h == nil {
		return fmt.Errorf("guestpeer: no command %q", name)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	v, err := h(ctx, raw)
	if err != nil || result == nil {
		return err
	}
	if raw, err = json.Marshal(v); err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

// Close ends all listeners and waits for their connections to end.
func (p *Peer) Close() error {
	p.mu.Lock()
	for _, l := range p.listeners {
		_ = l.Close()
	}
	for _, l := range p.forwards {
		_ = l.Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
	return nil
}

func (p *Peer) listen(ctx context.Context, a Listen) (vsock.Addr, error) {
	l, err := vsock.Listen(ctx, p.stack, vsock.Addr{CID: vsock.CIDAny, Port: a.Port})
	if err != nil {
		return vsock.Addr{}, err
	}
	addr := l.Addr().(vsock.Addr) //nolint:forcetypeassert // a Listener's always is
	p.mu.Lock()
	p.listeners[addr.Port] = l
	p.mu.Unlock()
	p.serving.Go(func() {
		for {
			c, err := l.AcceptConn()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serve(c, a) })
		}
	})
	return addr, nil
}

func (p *Peer) close(_ context.Context, a Port) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.listeners[a.Port]
	if l == nil {
		return nil, fmt.Errorf("guestpeer: no listener on port %d", a.Port)
	}
	delete(p.listeners, a.Port)
	return nil, l.Close()
}

// serve gives one connection its service. What goes wrong shows at the other end.
func (p *Peer) serve(c *vsock.Conn, a Listen) {
	defer func() { _ = c.Close() }()
	switch a.Service {
	case ServiceReceive:
		_, _ = transfer.Receive(c, nil)
	case ServiceEcho:
		echo(c)
	case ServiceRelay:
		out, err := vsock.Dial(context.Background(), p.stack, a.To)
		if err != nil {
			return
		}
		_ = relay.Join(c, out)
	case ServiceTCP:
		p.serveTCP(c, a.TCP)
	case ServiceCalls:
		p.ServeCalls(c)
	case ServiceDrop:
		drop(c)
	}
}

func echo(c *vsock.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = c.CloseWrite()
			return
		}
	}
}

func (p *Peer) send(ctx context.Context, a Transfer) (Outcome, error) {
	start := time.Now()
	outcomes := make(chan Outcome, a.Conns)
	errs := make(chan error, a.Conns)
	for i := range a.Conns {
		go func() {
			o, err := p.sendOne(ctx, a, uint64(i))
			outcomes <- o
			errs <- err
		}()
	}
	var o Outcome
	var all []error
	for range a.Conns {
		o = <-outcomes
		all = append(all, <-errs)
	}
	o.Took = time.Since(start)
	return o, errors.Join(all...)
}

func (p *Peer) sendOne(ctx context.Context, a Transfer, seed uint64) (Outcome, error) {
	c, err := vsock.Dial(ctx, p.stack, a.To)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { _ = c.Close() }()
	return outcome(c, 0), transfer.Send(c, a.Bytes, seed, nil)
}

func (p *Peer) dial(ctx context.Context, a Dial) (Outcome, error) {
	start := time.Now()
	c, err := vsock.Dial(ctx, p.stack, a.To)
	took := time.Since(start)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Outcome{Took: took, Refused: true}, nil
	case err != nil:
		return Outcome{}, err
	}
	defer func() { _ = c.Close() }()
	return outcome(c, took), nil
}

func outcome(c net.Conn, took time.Duration) Outcome {
	local, _ := c.LocalAddr().(vsock.Addr)
	remote, _ := c.RemoteAddr().(vsock.Addr)
	return Outcome{Local: local, Remote: remote, Took: took}
}
