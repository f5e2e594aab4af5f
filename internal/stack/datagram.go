package stack

import (
	"net"
	"os"
	"sync"
	"syscall"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// maxDatagrams is how many datagrams a socket keeps, whatever their size.
const maxDatagrams = 1024

// datagram is a bound datagram socket's end of the wire. What finds its buffer
// full is dropped, as the guide says.
type datagram struct {
	st    *Stack
	local vsock.Addr // CIDAny stays
	limit int        // of the buffer, bytes

	sendMu  sync.Mutex
	packet  packet.Packet // sendMu
	segment [1][]byte     // sendMu

	mu       sync.Mutex
	rx       buffer
	messages messages
	peer     *vsock.Addr // where it is connected to
	closed   bool

	sig      signal
	deadline deadline
	watchers watchers
}

func newDatagram(st *Stack, local vsock.Addr, opt options) *datagram {
	d := &datagram{st: st, local: local, limit: int(opt.bufAlloc()), sig: newSignal()}
	d.deadline.mu, d.deadline.sig = &d.mu, d.sig
	return d
}

// takeDatagram receives a datagram, if it is for a socket here.
func (st *Stack) takeDatagram(p *packet.Packet, f flow) {
	st.mu.RLock()
	d := st.datagrams.datagram(f.local.Port)
	st.mu.RUnlock()
	if d != nil && p.Op == packet.OpRW && (d.local.CID == vsock.CIDAny || d.local.CID == f.local.CID) {
		d.receive(p, f.remote)
	}
}

// receive keeps a datagram, or drops it. Its unlock is deferred as conn.receive's.
func (d *datagram) receive(p *packet.Packet, from vsock.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed, d.peer != nil && *d.peer != from:
		return
	case p.Len > vsock.MaxDatagram, d.rx.len()+int(p.Len) > d.limit, d.messages.len() >= maxDatagrams:
		return
	}
	for _, s := range p.Payload {
		d.rx.write(s, d.limit)
	}
	d.messages.add(message{n: int(p.Len), done: true, from: from})
	d.sig.send()
	d.watchers.fire()
}

func (d *datagram) recv(p []byte, flags vsock.Flags) (n int, got vsock.Flags, from vsock.Addr, err error) {
	for {
		n, got, from, wait, err := d.tryRecv(p, flags)
		if !wait {
			return n, got, from, err
		}
		d.deadline.sleep()
	}
}

// tryRecv takes a datagram. The signal wakes one waiter only, who passes it on
// while there is cause.
func (d *datagram) tryRecv(p []byte, flags vsock.Flags) (n int, got vsock.Flags, from vsock.Addr, wait bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		d.sig.send()
		return 0, 0, from, false, net.ErrClosed
	case flags&vsock.MsgDontWait == 0 && d.deadline.over():
		d.sig.send()
		return 0, 0, from, false, os.ErrDeadlineExceeded
	case d.messages.len() == 0 && flags&vsock.MsgDontWait != 0:
		return 0, 0, from, false, syscall.EAGAIN
	case d.messages.len() == 0:
		return 0, 0, from, true, nil
	}
	n, got, from = d.messages.take(&d.rx, p, flags)
	if d.messages.len() > 0 {
		d.sig.send()
	}
	return n, got, from, false, nil
}

// send sends a datagram, to the peer if to is nil.
func (d *datagram) send(p []byte, to *vsock.Addr) (int, error) {
	d.mu.Lock()
	if to == nil {
		to = d.peer
	}
	closed := d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case to == nil:
		return 0, syscall.ENOTCONN
	case to.CID == vsock.CIDAny || to.Port == vsock.PortAny:
		return 0, syscall.EINVAL
	case len(p) > vsock.MaxDatagram:
		return 0, syscall.EMSGSIZE
	}
	local := d.st.localTo(d.local, to.CID)
	d.sendMu.Lock()
	defer d.sendMu.Unlock()
	d.packet = packet.Packet{Header: packet.Header{
		SrcCID: uint64(local.CID), SrcPort: local.Port,
		DstCID: uint64(to.CID), DstPort: to.Port,
		Type: packet.TypeDatagram, Op: packet.OpRW, Len: uint32(len(p)),
	}}
	if d.segment[0] = p; len(p) > 0 {
		d.packet.Payload = d.segment[:]
	}
	d.st.sinkTo(to.CID).Take(&d.packet, nil)
	d.segment[0] = nil
	return len(p), nil
}

// connect sets the peer, nil for none. What came from others is dropped.
func (d *datagram) connect(peer *vsock.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peer = peer
	if peer != nil {
		d.rx.discard()
		d.messages = messages{}
	}
}

func (d *datagram) remote() (vsock.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.peer == nil {
		return vsock.Addr{}, syscall.ENOTCONN
	}
	return *d.peer, nil
}

func (d *datagram) ready() vsock.Events {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.messages.len() > 0 {
		return vsock.PollIn | vsock.PollOut
	}
	return vsock.PollOut
}

func (d *datagram) unread() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, _ := d.messages.first()
	return x.n
}

func (d *datagram) watch(notify func()) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watchers.add(&d.mu, notify)
}

func (d *datagram) close() {
	d.mu.Lock()
	d.closed = true
	d.rx.discard()
	d.messages = messages{}
	d.deadline.stop()
	d.watchers.fire()
	d.mu.Unlock()
	d.sig.send()
}
