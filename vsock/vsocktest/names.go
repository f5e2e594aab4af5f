package vsocktest

import (
	"syscall"

	"vsockets.dev/vsock"
)

var nameTests = []test{
	{name: "new", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		if a := r.name(s); a != anyAddr {
			r.Errorf("getsockname: %v, want %v", a, anyAddr)
		}
		r.noPeer(s)
	}},
	{name: "bound", run: func(r *rig) {
		s, a := r.bound(r.A, vsock.Stream)
		if got := r.name(s); got != a || got.CID != r.A.CID {
			r.Errorf("getsockname: %v, want %v", got, a)
		}
		r.noPeer(s)
	}},
	{name: "listening", run: func(r *rig) {
		s, a := r.listener(vsock.Stream)
		if got := r.name(s); got != a {
			r.Errorf("getsockname: %v, want %v", got, a)
		}
		r.noPeer(s)
	}},
	{name: "connected", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a := r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
		b := r.accept(l)
		if r.peerName(a) != addr || r.name(b) != addr || r.peerName(b) != r.B.Traits.seen(r.name(a)) {
			r.Errorf("%v > %v at one end, %v > %v at the other", r.name(a), r.peerName(a), r.name(b), r.peerName(b))
		}
	}},
	{name: "refused", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Connect(r.Context(), r.refused()), syscall.ECONNRESET, "connect")
		r.noPeer(s)
	}},
	{name: "shut down", run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		name, peer := r.name(a), r.peerName(a)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		if r.name(a) != name {
			r.Errorf("getsockname: %v, want %v", r.name(a), name)
		}
		if r.A.Traits.ShutdownForgetsPeer {
			r.noPeer(a)
		} else if r.peerName(a) != peer {
			r.Errorf("getpeername: %v, want %v", r.peerName(a), peer)
		}
	}},
	{name: "closed by the peer", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		name, peer := r.name(a), r.peerName(a)
		r.ok(b.Close(), "close")
		r.fails(a, errEOF)
		if r.name(a) != name || r.peerName(a) != peer {
			r.Errorf("%v > %v has become %v > %v", name, peer, r.name(a), r.peerName(a))
		}
	}},
	{name: "of Conn and Listener", run: func(r *rig) { r.connNames(anyAddr) }},
	{name: "of Conn and Listener, one CID", run: func(r *rig) {
		r.connNames(vsock.Addr{CID: r.B.CID, Port: vsock.PortAny})
	}},
}

// connNames has both ends of a Conn tell the names that their sockets do, where B listens at an
// address.
func (r *rig) connNames(at vsock.Addr) {
	r.Helper()
	ln, err := (&vsock.ListenConfig{Stack: r.B.Stack}).Listen(r.Context(), at)
	r.ok(err, "listen")
	r.own(ln.Socket())
	addr, _ := ln.Addr().(vsock.Addr)
	addr.CID = r.B.CID
	a, err := vsock.Dial(r.Context(), r.A.Stack, addr)
	r.ok(err, "dial")
	r.own(a.Socket())
	b, err := ln.AcceptConn()
	r.ok(err, "accept")
	r.own(b.Socket())
	local, _ := a.LocalAddr().(vsock.Addr)
	if a.RemoteAddr() != b.LocalAddr() || b.RemoteAddr() != r.B.Traits.seen(local) {
		r.Errorf("%v > %v at one end, %v > %v at the other", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	for _, c := range []*vsock.Conn{a, b} {
		if c.LocalAddr() != r.name(c.Socket()) || c.RemoteAddr() != r.peerName(c.Socket()) {
			r.Errorf("a Conn is %v > %v, and its socket %v > %v",
				c.LocalAddr(), c.RemoteAddr(), r.name(c.Socket()), r.peerName(c.Socket()))
		}
	}
}

// noPeer says that a socket has no peer to be named.
func (r *rig) noPeer(s vsock.Socket) {
	r.Helper()
	_, err := s.RemoteAddr()
	r.want(err, syscall.ENOTCONN, "getpeername")
}
