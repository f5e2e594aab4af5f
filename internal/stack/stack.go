// Package stack is our own vSockets stack: ports, listeners and connections of
// one context, in user space.
//
// A [Stack] knows nothing of devices and switches. It sends packets to the
// [packet.Sink] it was made with, and is itself the Sink of the packets that are
// addressed to it. The protocol is virtio 1.3 section 5.10.6; where that leaves
// room, the stack does as the vSockets guide says, and else as Linux does.
//
// # Locks
//
// A packet may travel through several stacks within one call of Take, and an
// answer may travel back within that same call, so no lock that Take needs is
// held while a packet is sent. Stack.mu and conn.mu are never held together,
// nor across a send. conn.sendMu is held across a send; Take only ever tries it.
// closings.mu may be taken under conn.mu, and nothing is taken under it.
package stack

import (
	"runtime"
	"sync"
	"sync/atomic"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/vsock"
)

// MaxConns is the most connections a stack has at a time, those that close
// included. A request beyond it is refused.
const MaxConns = 1 << 16

// Config is what a Stack needs to know.
type Config struct {
	// CID is the context's.
	CID uint32

	// Out takes the packets that the stack sends.
	Out packet.Sink

	// Unprivileged forbids ports below vsock.FirstUnprivilegedPort: binding one
	// is EACCES, as it is in a guest for a program without CAP_NET_BIND_SERVICE.
	Unprivileged bool

	// Poller, if there is one, gives where packets from a CID come in; nil if that
	// cannot be polled.
	Poller func(cid uint32) spin.Ring

	// Unclaimed, if there is one, is asked for each connection to a port where nobody
	// listens. It must not block: it says whether it takes the connection, and does
	// what it takes later.
	Unclaimed func(*Offer) bool

	// Breach, if there is one, is told of each packet that breaks a rule: from whom, and to
	// which address here. It is called with locks held: it must only take note.
	Breach func(from, to vsock.Addr, b Breach)
}

// Breach is a rule of virtio 1.3 section 5.10.6 that a packet breaks.
type Breach int

// Breaches.
const (
	BreachFlow   Breach = iota // of no connection, and no REQUEST; it may have been reset just now
	BreachCredit               // more data than there is credit for
	BreachOrder                // an op that the state of its connection does not allow
)

// Stack is the vSockets stack of one context. It implements vsock.Stack.
type Stack struct {
	cid          uint32
	out          packet.Sink
	unprivileged bool
	unclaimed    func(*Offer) bool
	poller       func(cid uint32) spin.Ring
	breach       func(from, to vsock.Addr, b Breach)

	grown    atomic.Int64 // how much the windows of all connections grew by
	closings closings

	mu        sync.RWMutex
	conns     map[flow]*conn
	ports     ports // of streams and seqpacket sockets
	datagrams ports
	closed    bool
}

// crowded says whether there are more connections than processors.
func (st *Stack) crowded() bool {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return len(st.conns) > runtime.GOMAXPROCS(0)
}

// flow names a connection, seen from this stack.
type flow struct {
	local, remote vsock.Addr
}

// New makes the stack of a context.
func New(c Config) *Stack {
	st := &Stack{
		cid: c.CID, out: c.Out, unprivileged: c.Unprivileged, unclaimed: c.Unclaimed, poller: c.Poller, breach: c.Breach,
		conns: make(map[flow]*conn), ports: newPorts(), datagrams: newPorts(),
	}
	if st.breach == nil {
		st.breach = func(_, _ vsock.Addr, _ Breach) {}
	}
	return st
}

// LocalCID is the context's CID.
func (st *Stack) LocalCID() (uint32, error) { return st.cid, nil }

// Socket creates a socket.
func (st *Stack) Socket(t vsock.Type) (vsock.Socket, error) {
	switch t {
	case vsock.Stream, vsock.Seqpacket, vsock.Datagram:
		return &Socket{st: st, typ: t, opt: defaultOptions()}, nil
	}
	return nil, vsock.ErrNotSupported
}

// Close resets all connections and closes all listeners. Calls on their
// sockets fail from then on.
func (st *Stack) Close() error {
	st.mu.Lock()
	st.closed = true
	var listeners []*listener
	for _, p := range st.ports.used {
		if p.listener != nil {
			listeners = append(listeners, p.listener)
		}
	}
	var datagrams []*datagram
	for _, p := range st.datagrams.used {
		if p.datagram != nil {
			datagrams = append(datagrams, p.datagram)
		}
	}
	st.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
	for _, d := range datagrams {
		d.close()
	}
	for _, c := range st.matching(func(*conn) bool { return true }) {
		c.abort(errStackClosed)
	}
	st.closings.stop()
	return nil
}

// PeerGone ends all connections with a context that is there no more.
func (st *Stack) PeerGone(cid uint32) {
	for _, c := range st.matching(func(c *conn) bool { return c.flow.remote.CID == cid }) {
		c.peerGone()
	}
}

// Disconnect ends all connections, as PeerGone does: the way out has ended.
func (st *Stack) Disconnect() {
	for _, c := range st.matching(func(*conn) bool { return true }) {
		c.peerGone()
	}
}

func (st *Stack) matching(want func(*conn) bool) []*conn {
	st.mu.RLock()
	defer st.mu.RUnlock()
	var cs []*conn
	for _, c := range st.conns {
		if want(c) {
			cs = append(cs, c)
		}
	}
	return cs
}

// sinkTo gives the way to a remote CID: back into the stack itself for its own.
func (st *Stack) sinkTo(cid uint32) packet.Sink {
	if cid == st.cid || cid == vsock.CIDLocal {
		return st
	}
	return st.out
}

// pollerFor gives where packets from a remote CID come in.
func (st *Stack) pollerFor(cid uint32) spin.Ring {
	if st.poller == nil || cid == st.cid || cid == vsock.CIDLocal {
		return nil
	}
	return st.poller(cid)
}

// Take receives a packet that is addressed to this stack. It never refuses one:
// what its sender has no credit for ends the connection.
func (st *Stack) Take(p *packet.Packet, _ packet.Waker) (int, bool) {
	st.take(p)
	return int(p.Len), true
}

func (st *Stack) take(p *packet.Packet) {
	if p.SrcCID>>32 != 0 || p.DstCID>>32 != 0 {
		return // such a CID cannot be answered
	}
	f := flow{
		local:  vsock.Addr{CID: uint32(p.DstCID), Port: p.DstPort},
		remote: vsock.Addr{CID: uint32(p.SrcCID), Port: p.SrcPort},
	}
	switch p.Type {
	case packet.TypeStream, packet.TypeSeqpacket:
		st.takeConnected(p, f)
	case packet.TypeDatagram:
		st.takeDatagram(p, f)
	default:
		st.refuse(p) // virtio 1.3 section 5.10.6.4.2: an unknown type is answered with RST
	}
}

func (st *Stack) takeConnected(p *packet.Packet, f flow) {
	st.mu.RLock()
	c := st.conns[f]
	st.mu.RUnlock()
	switch {
	case c != nil && c.typ == p.Type:
		c.take(p)
	case c == nil && p.Op == packet.OpRequest:
		st.request(p, f)
	default:
		if p.Op != packet.OpReset {
			st.breach(f.remote, f.local, BreachFlow)
		}
		st.refuse(p)
	}
}

// refuse answers a packet with RST, where it has an answer.
func (st *Stack) refuse(p *packet.Packet) {
	if h, ok := p.Refusal(); ok {
		st.sinkTo(uint32(p.SrcCID)).Take(&packet.Packet{Header: h}, nil)
	}
}

// request opens a connection to a listener here, or refuses it.
func (st *Stack) request(p *packet.Packet, f flow) {
	c, l := st.admit(p, f)
	if c == nil {
		if !st.offer(p, f) {
			st.refuse(p)
		}
		return
	}
	// The response goes first: data that an accepter sends must come after it.
	c.flush()
	l.enqueue(c)
}

// admit makes the connection that p asks for, if there is a listener for it with
// room.
func (st *Stack) admit(p *packet.Packet, f flow) (*conn, *listener) {
	st.mu.Lock()
	defer st.mu.Unlock()
	l := st.ports.listener(f.local.Port)
	// Another packet of the same flow may have been faster.
	if l == nil || st.conns[f] != nil || len(st.conns) >= MaxConns || !l.serves(f.local.CID, p.Type) || !l.reserve() {
		return nil, nil
	}
	c := st.accept(p, f, l.opt)
	c.pending.Store(sendResponse)
	return c, l
}

// accept needs mu. It makes the connection that p asks for.
func (st *Stack) accept(p *packet.Packet, f flow, opt options) *conn {
	c := newConn(st, f, p.Type, opt)
	c.agree(p.BufAlloc)
	c.state, c.up = established, true
	c.credit(&p.Header)
	st.conns[f] = c
	st.ports.hold(f.local.Port)
	return c
}

// remove forgets a connection. Its port is free again when nothing else holds it.
func (st *Stack) remove(c *conn) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.conns[c.flow] == c {
		delete(st.conns, c.flow)
		st.ports.drop(c.flow.local.Port)
	}
}
