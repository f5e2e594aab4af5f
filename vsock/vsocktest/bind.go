package vsocktest

import (
	"syscall"

	"vsockets.dev/vsock"
)

var bindTests = []test{
	{name: "any is filled in", run: func(r *rig) {
		for _, typ := range r.A.Traits.types() {
			s := r.socket(r.A, typ)
			r.ok(s.Bind(anyAddr), "bind")
			if a := r.name(s); a.CID != r.A.CID || a.Port < vsock.FirstUnprivilegedPort || a.Port == vsock.PortAny {
				r.Errorf("bound to %v, want CID %d and a port from 1024 on", a, r.A.CID)
			}
		}
	}},
	{name: "ephemeral ports are distinct", run: func(r *rig) {
		seen := make(map[uint32]bool)
		for range 100 {
			_, a := r.bound(r.A, vsock.Stream)
			if seen[a.Port] || a.Port < vsock.FirstUnprivilegedPort {
				r.Fatalf("port %d again, or below 1024", a.Port)
			}
			seen[a.Port] = true
		}
	}},
	{name: "ephemeral ports pass over those in use", run: func(r *rig) {
		// The next ones to be given are near. Not too many: Linux gives up after 24.
		_, last := r.bound(r.A, vsock.Stream)
		taken := make(map[uint32]bool)
		for i := range uint32(20) {
			port := max(last.Port+i-10, vsock.FirstUnprivilegedPort)
			if r.socket(r.A, vsock.Stream).Bind(vsock.Addr{CID: vsock.CIDAny, Port: port}) == nil {
				taken[port] = true
			}
		}
		for range 100 {
			if _, a := r.bound(r.A, vsock.Stream); taken[a.Port] {
				r.Fatalf("port %d is in use", a.Port)
			}
		}
	}},
	{name: "own CID and a given port", run: func(r *rig) {
		want := r.freeAddr()
		s := r.socket(r.A, vsock.Stream)
		r.ok(s.Bind(want), "bind")
		if a := r.name(s); a != want {
			r.Errorf("bound to %v, want %v", a, want)
		}
	}},
	{name: "any CID and a given port", run: func(r *rig) {
		want := r.freeAddr()
		s := r.socket(r.A, vsock.Stream)
		r.ok(s.Bind(vsock.Addr{CID: vsock.CIDAny, Port: want.Port}), "bind")
		if a := r.name(s); a != want {
			r.Errorf("bound to %v, want %v", a, want)
		}
	}},
	{name: "port in use", run: func(r *rig) {
		_, a := r.bound(r.A, vsock.Stream)
		for _, cid := range []uint32{r.A.CID, vsock.CIDAny} {
			err := r.socket(r.A, vsock.Stream).Bind(vsock.Addr{CID: cid, Port: a.Port})
			r.want(err, syscall.EADDRINUSE, "bind")
		}
	}},
	{name: "port in use by a listener", run: func(r *rig) {
		_, a := r.listener(vsock.Stream)
		r.want(r.socket(r.B, vsock.Stream).Bind(vsock.Addr{CID: vsock.CIDAny, Port: a.Port}), syscall.EADDRINUSE, "bind")
	}},
	{name: "stream and seqpacket share ports", on: func(p *Pair) bool { return p.A.Traits.NoSeqpacketSocket == nil }, run: func(r *rig) {
		_, a := r.bound(r.A, vsock.Stream)
		r.want(r.socket(r.A, vsock.Seqpacket).Bind(a), syscall.EADDRINUSE, "bind")
	}},
	{name: "datagrams have ports of their own", on: datagrams, run: func(r *rig) {
		_, a := r.bound(r.A, vsock.Stream)
		r.ok(r.socket(r.A, vsock.Datagram).Bind(a), "bind a datagram socket")
		r.want(r.socket(r.A, vsock.Datagram).Bind(a), syscall.EADDRINUSE, "bind a second one")
	}},
	{name: "after a failure, elsewhere", run: func(r *rig) {
		_, a := r.bound(r.A, vsock.Stream)
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Bind(a), syscall.EADDRINUSE, "bind")
		r.ok(s.Bind(anyAddr), "bind elsewhere")
	}},
	{name: "not our CID", run: func(r *rig) {
		cids := []uint32{vsock.CIDHypervisor, 0x7ffffff0}
		if r.A.CID != r.B.CID {
			cids = append(cids, r.B.CID)
		}
		for _, cid := range cids {
			err := r.socket(r.A, vsock.Stream).Bind(vsock.Addr{CID: cid, Port: vsock.PortAny})
			r.want(err, syscall.EADDRNOTAVAIL, "bind")
		}
	}},
	{name: "twice", run: func(r *rig) {
		s, a := r.bound(r.A, vsock.Stream)
		r.want(s.Bind(anyAddr), syscall.EINVAL, "bind")
		r.want(s.Bind(a), syscall.EINVAL, "bind to the same")
	}},
	{name: "connected", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.want(a.Bind(anyAddr), syscall.EINVAL, "bind the connector")
		r.want(b.Bind(anyAddr), syscall.EINVAL, "bind the acceptor")
	}},
	{name: "free again after close", run: func(r *rig) {
		s, a := r.bound(r.A, vsock.Stream)
		r.ok(s.Close(), "close")
		r.ok(r.socket(r.A, vsock.Stream).Bind(a), "bind")
	}},
	{name: "free again after a listener's close", run: func(r *rig) {
		l, a := r.listener(vsock.Stream)
		r.ok(l.Close(), "close")
		r.ok(r.socket(r.B, vsock.Stream).Bind(a), "bind")
	}},
	{name: "a listener's port while its connections live", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a := r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
		b := r.accept(l)
		r.ok(l.Close(), "close the listener")
		l = r.socket(r.B, vsock.Stream)
		r.ok(l.Bind(addr), "bind a new listener")
		r.ok(l.Listen(1), "listen")
		r.send(a, "old connection")
		r.recv(b, "old connection")
		r.connect(r.socket(r.A, vsock.Stream), addr)
	}},
	{name: "privileged port", run: func(r *rig) {
		const port = 1023
		err := r.socket(r.A, vsock.Stream).Bind(vsock.Addr{CID: vsock.CIDAny, Port: port})
		if r.A.Traits.Unprivileged {
			r.want(err, syscall.EACCES, "bind")
		} else {
			r.ok(err, "bind")
		}
	}},
	{name: "local", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		err := s.Bind(vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny})
		if r.A.Traits.NoLocal {
			r.want(err, syscall.EADDRNOTAVAIL, "bind")
			return
		}
		r.ok(err, "bind")
		if a := r.name(s); a.CID != vsock.CIDLocal {
			r.Errorf("bound to %v, want CID 1", a)
		}
	}},
}

func datagrams(p *Pair) bool {
	return p.A.Traits.NoDatagrams == nil && p.B.Traits.NoDatagrams == nil
}

// freeAddr is an address of A that nobody is bound to.
func (r *rig) freeAddr() vsock.Addr {
	r.Helper()
	s, a := r.bound(r.A, vsock.Stream)
	r.ok(s.Close(), "close")
	return a
}
