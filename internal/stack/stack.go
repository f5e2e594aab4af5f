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
package stack

import (
	"sync"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// MaxConns is the most connections a stack has at a time, those that close
// included. A request beyond it is refused.
const MaxConns = 1 << 16

// Stack is the vSockets stack of one context. It implements vsock.Stack.
type Stack struct {
	cid uint32
	out packet.Sink

	mu     sync.RWMutex
	conns  map[flow]*conn
	ports  ports
	closed bool
}

// flow names a connection, seen from this stack.
type flow struct {
	local, remote vsock.Addr
}

// New makes the stack of context cid, which sends its packets to out.
func New(cid uint32, out packet.Sink) *Stack {
	return &Stack{cid: cid, out: out, conns: make(map[flow]*conn), ports: newPorts()}
}

// LocalCID is the context's CID.
func (st *Stack) LocalCID() (uint32, error) { return st.cid, nil }

// Socket creates a socket.
func (st *Stack) Socket(t vsock.Type) (vsock.Socket, error) {
	if t != vsock.Stream {
		return nil, vsock.ErrNotSupported
	}
	return &Socket{st: st, opt: defaultOptions()}, nil
}

// Close resets all connections and closes all listeners. Calls on their
// sockets fail from then on.
func (st *Stack) Close() error {
	st.mu.Lock()
	st.closed = true
	listeners := st.ports.listeners()
	st.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
	for _, c := range st.matching(func(*conn) bool { return true }) {
		c.abort(errStackClosed)
	}
	return nil
}

// PeerGone ends all connections with a context that is there no more.
func (st *Stack) PeerGone(cid uint32) {
	for _, c := range st.matching(func(c *conn) bool { return c.flow.remote.CID == cid }) {
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
	if p.Type != packet.TypeStream {
		st.refuse(p) // virtio 1.3 section 5.10.6.4.2: an unknown type is answered with RST
		return
	}
	st.mu.RLock()
	c := st.conns[f]
	st.mu.RUnlock()
	switch {
	case c != nil:
		c.take(p)
	case p.Op == packet.OpRequest:
		st.request(p, f)
	default:
		st.refuse(p)
	}
}

// refuse answers a packet with RST, unless it is one.
func (st *Stack) refuse(p *packet.Packet) {
	if p.Op == packet.OpReset {
		return
	}
	rst := packet.Packet{Header: p.Reply(packet.OpReset)}
	st.sinkTo(uint32(p.SrcCID)).Take(&rst, nil)
}

// request opens a connection to a listener here, or refuses it.
func (st *Stack) request(p *packet.Packet, f flow) {
	st.mu.Lock()
	l := st.ports.listener(f.local.Port)
	if l == nil || !l.serves(f.local.CID) || len(st.conns) >= MaxConns || !l.reserve() {
		st.mu.Unlock()
		st.refuse(p)
		return
	}
	if st.conns[f] != nil { // another packet of the same flow was faster
		st.mu.Unlock()
		l.release()
		st.refuse(p)
		return
	}
	c := newConn(st, f, l.opt.accept(p.BufAlloc))
	c.state = established
	c.credit(&p.Header)
	c.pending.Store(sendResponse)
	st.conns[f] = c
	st.ports.hold(f.local.Port)
	st.mu.Unlock()

	// The response goes first: data that an accepter sends must come after it.
	c.flush()
	l.enqueue(c)
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
