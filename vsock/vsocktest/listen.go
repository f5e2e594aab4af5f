package vsocktest

import (
	"syscall"

	"vsockets.dev/vsock"
)

var listenTests = []test{
	{name: "not bound", run: func(r *rig) {
		r.want(r.socket(r.B, vsock.Stream).Listen(1), syscall.EINVAL, "listen")
	}},
	{name: "connected", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.want(a.Listen(1), syscall.EINVAL, "listen on the connector")
		r.want(b.Listen(1), syscall.EINVAL, "listen on the acceptor")
	}},
	{name: "datagram socket", on: datagrams, run: func(r *rig) {
		s, _ := r.bound(r.B, vsock.Datagram)
		r.want(s.Listen(1), syscall.EOPNOTSUPP, "listen")
	}},
	{name: "bound but not listening refuses", run: func(r *rig) {
		_, addr := r.bound(r.B, vsock.Stream)
		r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), addr), syscall.ECONNRESET, "connect")
	}},
	{name: "backlog 0 takes one", run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		addr := r.listen(s, 0)
		r.connect(r.socket(r.A, vsock.Stream), addr)
		r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), addr), syscall.ECONNRESET, "connect beyond")
	}},
	{name: "backlog full refuses at once", run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		addr := r.listen(s, 3)
		r.fillBacklog(addr, 3)
		// Accepting one makes room for one.
		r.accept(s)
		r.fillBacklog(addr, 1-r.B.Traits.BacklogExtra)
	}},
	{name: "twice sets the backlog", run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		addr := r.listen(s, 1)
		r.fillBacklog(addr, 1)
		r.ok(s.Listen(3), "listen again")
		r.fillBacklog(addr, 2-r.B.Traits.BacklogExtra)
	}},
	{name: "a lower backlog keeps those that wait", run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		addr := r.listen(s, 3)
		for range 3 {
			r.connect(r.socket(r.A, vsock.Stream), addr)
		}
		r.ok(s.Listen(1), "listen again")
		r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), addr), syscall.ECONNRESET, "connect beyond")
		for range 3 {
			r.accept(s)
		}
	}},
	{name: "refused ones try again", run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		addr := r.listen(s, 1)
		r.fillBacklog(addr, 1)
		a := r.socket(r.A, vsock.Stream)
		r.want(a.Connect(r.Context(), addr), syscall.ECONNRESET, "connect beyond")
		r.accept(s)
		a = r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
	}},
	{name: "on our own CID", run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		r.ok(s.Bind(vsock.Addr{CID: r.B.CID, Port: vsock.PortAny}), "bind")
		r.ok(s.Listen(1), "listen")
		r.connect(r.socket(r.A, vsock.Stream), r.name(s))
	}},
	{name: "on local", on: func(p *Pair) bool { return !p.B.Traits.NoLocal }, run: func(r *rig) {
		s := r.socket(r.B, vsock.Stream)
		r.ok(s.Bind(vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny}), "bind")
		r.ok(s.Listen(1), "listen")
		addr := r.name(s)
		c := r.socket(r.B, vsock.Stream)
		r.connect(c, addr)
		r.looped(r.peerName(r.accept(s)), r.name(c), vsock.CIDLocal)
		if r.B.CID != vsock.CIDLocal { // the other end does not reach it
			err := r.socket(r.A, vsock.Stream).Connect(r.Context(), vsock.Addr{CID: r.B.CID, Port: addr.Port})
			r.want(err, syscall.ECONNRESET, "connect from outside")
		}
	}},
}

// fillBacklog connects as often as the listener must take it, and once more.
func (r *rig) fillBacklog(addr vsock.Addr, backlog int) {
	r.Helper()
	for range backlog + r.B.Traits.BacklogExtra {
		r.connect(r.socket(r.A, vsock.Stream), addr)
	}
	s := r.socket(r.A, vsock.Stream)
	r.set(s, vsock.ConnectTimeout, uint64(patience)) // so that a late answer is no timeout
	r.want(s.Connect(r.Context(), addr), syscall.ECONNRESET, "connect beyond the backlog")
}
