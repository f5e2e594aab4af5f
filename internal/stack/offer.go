package stack

import (
	"net"
	"sync/atomic"
	"syscall"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// Offer is a connection that a peer asks for at a port where nobody listens.
// Whoever takes it (see Config.Unclaimed) calls Accept or Refuse, once and from a
// goroutine of its own; until then the peer waits.
type Offer struct {
	Local, Remote vsock.Addr
	Type          vsock.Type

	conn *conn
	done atomic.Bool
}

// Accept opens the connection and gives its socket, unless the peer gave up.
func (o *Offer) Accept() (vsock.Socket, error) {
	if !o.done.CompareAndSwap(false, true) {
		return nil, net.ErrClosed
	}
	c := o.conn
	c.mu.Lock()
	over := c.state == closed
	if !over {
		c.pending.Or(sendResponse)
	}
	c.mu.Unlock()
	if over {
		return nil, syscall.ECONNABORTED
	}
	c.flush()
	return c.socket(), nil
}

// Refuse answers with RST.
func (o *Offer) Refuse() {
	if o.done.CompareAndSwap(false, true) {
		o.conn.abort(syscall.ECONNREFUSED)
	}
}

// offer asks whether someone takes a connection for which there is no listener.
func (st *Stack) offer(p *packet.Packet, f flow) bool {
	if st.unclaimed == nil {
		return false
	}
	c := st.admitOffer(p, f)
	if c == nil {
		return false
	}
	o := &Offer{Local: f.local, Remote: f.remote, Type: vsock.Stream, conn: c}
	if p.Type == packet.TypeSeqpacket {
		o.Type = vsock.Seqpacket
	}
	if st.unclaimed(o) {
		return true
	}
	st.remove(c)
	return false
}

// admitOffer makes the connection that is offered, unless its port has a listener.
func (st *Stack) admitOffer(p *packet.Packet, f flow) *conn {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed || st.ports.listener(f.local.Port) != nil || st.conns[f] != nil || len(st.conns) >= MaxConns {
		return nil
	}
	return st.accept(p, f, defaultOptions())
}
