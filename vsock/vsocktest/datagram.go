package vsocktest

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"vsockets.dev/vsock"
)

var datagramTests = []test{
	{name: "sendto and recvfrom", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		r.sendTo(a, "to", to)
		r.datagram(b, "to", from)
		r.sendTo(b, "fro", from)
		r.datagram(a, "fro", to)
	}},
	{name: "sendto binds first", on: datagrams, run: func(r *rig) {
		b, to := r.bound(r.B, vsock.Datagram)
		a := r.socket(r.A, vsock.Datagram)
		if n := r.name(a); n != anyAddr {
			r.Errorf("getsockname of a new socket: %v", n)
		}
		r.sendTo(a, "x", to)
		from := r.name(a)
		if from.CID != r.A.CID || from.Port < vsock.FirstUnprivilegedPort || from.Port == vsock.PortAny {
			r.Errorf("getsockname %v", from)
		}
		r.datagram(b, "x", from)
	}},
	{name: "boundaries and sizes", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		p := pattern(10_000)
		sizes := []int{1, 0, 5, 10_000, 0, 4096}
		for _, n := range sizes {
			r.sendTo(a, p[:n], to)
		}
		for _, n := range sizes {
			r.datagram(b, p[:n], from)
		}
	}},
	{name: "largest", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		p := pattern(vsock.MaxDatagram + 1)
		_, err := a.SendTo([]byte(p), 0, to)
		r.want(err, syscall.EMSGSIZE, "sendto")
		r.sendTo(a, p[:vsock.MaxDatagram], to)
		r.datagram(b, p[:vsock.MaxDatagram], from)
	}},
	{name: "too short a buffer loses the rest", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		for range 3 {
			r.sendTo(a, "123456789", to)
		}
		p := make([]byte, 4)
		if n, got, err := b.Recv(p, 0); n != 4 || got&vsock.MsgTrunc == 0 || err != nil {
			r.Errorf("recv: %d, flags %#x, %v; want 4, MsgTrunc", n, got, err)
		}
		if n, got, err := b.Recv(p, vsock.MsgTrunc|vsock.MsgPeek); n != 9 || got&vsock.MsgTrunc == 0 || err != nil {
			r.Errorf("peek: %d, flags %#x, %v; want 9, MsgTrunc", n, got, err)
		}
		if n, _, err := b.Recv(make([]byte, 9), vsock.MsgTrunc); n != 9 || err != nil {
			r.Errorf("recv: %d, %v; want 9", n, err)
		}
	}},
	{name: "send without a peer", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		_, err := a.Send([]byte("x"), 0)
		r.want(err, syscall.ENOTCONN, "send")
		_, err = a.RemoteAddr()
		r.want(err, syscall.ENOTCONN, "getpeername")
	}},
	{name: "connected", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		r.connect(a, to)
		if r.peerName(a) != to {
			r.Errorf("getpeername %v, want %v", r.peerName(a), to)
		}
		r.send(a, "to")
		r.datagram(b, "to", from)
	}},
	{name: "connected, only the peer is heard", on: datagrams, run: func(r *rig) {
		a, to := r.bound(r.A, vsock.Datagram)
		b, peer := r.bound(r.B, vsock.Datagram)
		stranger, _ := r.bound(r.B, vsock.Datagram)
		r.connect(a, peer)
		r.sendTo(stranger, "from a stranger", to)
		r.sendTo(b, "from the peer", to)
		r.datagram(a, "from the peer", peer)
		r.quiet(a)
	}},
	{name: "connected, what came before is gone", on: datagrams, run: func(r *rig) {
		a, to := r.bound(r.A, vsock.Datagram)
		b, peer := r.bound(r.B, vsock.Datagram)
		stranger, _ := r.bound(r.B, vsock.Datagram)
		r.sendTo(stranger, "from a stranger", to)
		r.await(a, vsock.PollIn)
		r.connect(a, peer)
		r.quiet(a)
		r.sendTo(b, "from the peer", to)
		r.datagram(a, "from the peer", peer)
	}},
	{name: "bound to local, not reached from outside", on: func(p *Pair) bool {
		return datagrams(p) && !p.B.Traits.NoLocal && p.B.CID != p.A.CID
	}, run: func(r *rig) {
		b := r.socket(r.B, vsock.Datagram)
		r.ok(b.Bind(vsock.Addr{CID: vsock.CIDLocal, Port: vsock.PortAny}), "bind")
		addr := r.name(b)
		a, _ := r.bound(r.A, vsock.Datagram)
		r.sendTo(a, "from outside", vsock.Addr{CID: r.B.CID, Port: addr.Port})
		r.arrived(a)
		r.quiet(b)
		c := r.socket(r.B, vsock.Datagram)
		r.sendTo(c, "from within", addr)
		r.datagram(b, "from within", vsock.Addr{CID: vsock.CIDLocal, Port: r.name(c).Port})
	}},
	{name: "connected, sendto elsewhere", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		_, peer := r.bound(r.B, vsock.Datagram)
		other, to := r.bound(r.B, vsock.Datagram)
		r.connect(a, peer)
		r.sendTo(a, "x", to)
		r.datagram(other, "x", from)
	}},
	{name: "connected anew, and undone", on: datagrams, run: func(r *rig) {
		a, to := r.bound(r.A, vsock.Datagram)
		_, first := r.bound(r.B, vsock.Datagram)
		b, second := r.bound(r.B, vsock.Datagram)
		r.connect(a, first)
		r.connect(a, second)
		r.send(a, "x")
		r.datagram(b, "x", to)
		r.connect(a, anyAddr)
		_, err := a.Send([]byte("x"), 0)
		r.want(err, syscall.ENOTCONN, "send")
		_, err = a.RemoteAddr()
		r.want(err, syscall.ENOTCONN, "getpeername")
		stranger, from := r.bound(r.B, vsock.Datagram)
		r.sendTo(stranger, "heard again", to)
		r.datagram(a, "heard again", from)
	}},
	{name: "to half of any", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		for _, to := range []vsock.Addr{{CID: vsock.CIDAny, Port: 5000}, {CID: r.B.CID, Port: vsock.PortAny}} {
			r.want(a.Connect(r.Context(), to), syscall.EINVAL, "connect to "+to.String())
			_, err := a.SendTo([]byte("x"), 0, to)
			r.want(err, syscall.EINVAL, "send to "+to.String())
		}
		_, err := a.SendTo([]byte("x"), 0, anyAddr)
		r.want(err, syscall.EINVAL, "send to any")
	}},
	{name: "without a receiver, lost", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		gone, to := r.bound(r.B, vsock.Datagram)
		r.ok(gone.Close(), "close")
		r.sendTo(a, "lost", to)
		r.sendTo(a, "lost", vsock.Addr{CID: 0x7ffffff0, Port: 5000})
		r.arrived(a)
		b := r.socket(r.B, vsock.Datagram)
		r.ok(b.Bind(vsock.Addr{CID: vsock.CIDAny, Port: to.Port}), "bind")
		r.sendTo(a, "heard", to)
		r.datagram(b, "heard", from)
	}},
	{name: "a full receiver drops", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		const n, size = 2000, 1000
		p := pattern(n + size)
		for i := range n {
			r.sendTo(a, p[i:i+size], to) // never waits, never fails
		}
		r.arrived(a)
		kept, at := 0, 0
		buf := make([]byte, 2*size)
		for ; b.Ready()&vsock.PollIn != 0; kept++ { // whole, and in order
			got, _, _, err := b.RecvFrom(buf, 0)
			r.ok(err, "recv")
			for at < n && p[at:at+size] != string(buf[:got]) {
				at++
			}
			if at++; at > n {
				r.Fatalf("datagram %d of %d bytes is another one, or out of order", kept, got)
			}
		}
		if kept == 0 || kept*size > int(vsock.DefaultBufferSize) {
			r.Errorf("%d datagrams of %d bytes were kept", kept, size)
		}
		r.sendTo(a, "on it goes", to)
		r.datagram(b, "on it goes", from)
	}},
	{name: "nonblocking and deadline", on: datagrams, run: func(r *rig) {
		b, _ := r.bound(r.B, vsock.Datagram)
		r.quiet(b)
		r.passes(b.SetReadDeadline, func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(b.SetReadDeadline(never), "SetReadDeadline")
		wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(b.SetReadDeadline(past), "SetReadDeadline")
		r.want(wait(), os.ErrDeadlineExceeded, "recv")
	}},
	{name: "waits", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		var waits []func() error
		for range 3 {
			waits = append(waits, r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err }))
		}
		for range 3 {
			r.sendTo(a, "x", to)
		}
		for _, wait := range waits {
			r.ok(wait(), "recv")
		}
	}},
	{name: "closed while waiting", on: datagrams, run: func(r *rig) {
		for range 10 {
			b, _ := r.bound(r.B, vsock.Datagram)
			wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
			r.ok(b.Close(), "close")
			r.want(wait(), net.ErrClosed, "recv")
		}
	}},
	{name: "poll", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		r.idle(b, vsock.PollIn)
		if e := r.await(b, vsock.PollIn|vsock.PollOut); e != vsock.PollOut {
			r.Errorf("events %#x, want PollOut", e)
		}
		wait := r.background(func() error { _, err := a.SendTo(nil, 0, to); return err })
		r.await(b, vsock.PollIn) // an empty one too
		r.ok(wait(), "sendto")
	}},
	{name: "a stream's port hears none", on: datagrams, run: func(r *rig) {
		a, from := r.bound(r.A, vsock.Datagram)
		l, to := r.listener(vsock.Stream)
		r.sendTo(a, "x", to)
		r.arrived(a)
		b := r.socket(r.B, vsock.Datagram)
		r.ok(b.Bind(r.name(l)), "bind")
		r.sendTo(a, "y", to)
		r.datagram(b, "y", from)
		r.idle(l, vsock.PollIn)
	}},
	{name: "shutdown", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		r.want(a.Shutdown(vsock.ShutBoth), syscall.ENOTCONN, "shutdown")
	}},
	{name: "PacketConn", on: datagrams, run: packetConn},
	{name: "ListenPacket where there are none", on: func(p *Pair) bool { return !datagrams(p) }, run: func(r *rig) {
		if _, err := vsock.ListenPacket(r.Context(), r.A.Stack, anyAddr); r.A.Traits.NoDatagrams != nil {
			r.want(err, r.A.Traits.NoDatagrams, "ListenPacket")
		}
	}},
}

func packetConn(r *rig) {
	a, err := vsock.ListenPacket(r.Context(), r.A.Stack, anyAddr)
	r.ok(err, "ListenPacket")
	r.own(a.Socket())
	b, err := vsock.ListenPacket(r.Context(), r.B.Stack, anyAddr)
	r.ok(err, "ListenPacket")
	r.own(b.Socket())
	n, err := a.WriteTo([]byte("to"), b.LocalAddr())
	if n != 2 || err != nil {
		r.Fatalf("WriteTo: %d, %v", n, err)
	}
	p := make([]byte, 8)
	n, from, err := b.ReadFrom(p)
	if string(p[:n]) != "to" || from != a.LocalAddr() || err != nil {
		r.Fatalf("ReadFrom: %q from %v, %v", p[:n], from, err)
	}
	_, err = a.WriteTo(make([]byte, vsock.MaxDatagram+1), b.LocalAddr())
	r.want(err, syscall.EMSGSIZE, "WriteTo")
	_, err = a.WriteTo([]byte("x"), &net.UnixAddr{})
	r.want(err, syscall.EINVAL, "WriteTo an address of another kind")
	var op *net.OpError
	if !errors.As(err, &op) {
		r.Errorf("%#v is no *net.OpError", err)
	}
	r.passes(b.SetReadDeadline, func() error { _, _, err := b.ReadFrom(p); return err })
	_, err = vsock.ListenPacket(r.Context(), r.A.Stack, vsock.Addr{CID: vsock.CIDAny, Port: a.LocalAddr().(vsock.Addr).Port})
	r.want(err, syscall.EADDRINUSE, "ListenPacket")
	_, err = vsock.ListenPacket(r.cancelled(), r.A.Stack, anyAddr)
	r.want(err, context.Canceled, "ListenPacket")
	r.ok(a.Close(), "close")
	_, err = a.WriteTo([]byte("x"), b.LocalAddr())
	r.want(err, net.ErrClosed, "WriteTo")
}

// sendTo sends a datagram.
func (r *rig) sendTo(s vsock.Socket, p string, to vsock.Addr) {
	r.Helper()
	if n, err := s.SendTo([]byte(p), 0, to); n != len(p) || err != nil {
		r.Fatalf("sendto %v: %d of %d, %v", to, n, len(p), err)
	}
}

// arrived waits until all that a has sent to B has come there, or is lost. What
// tells so may be lost too, where the way is full.
func (r *rig) arrived(a vsock.Socket) {
	r.Helper()
	b, to := r.bound(r.B, vsock.Datagram)
	r.until(func() bool {
		r.sendTo(a, "last", to)
		return vsock.Poll([]vsock.PollFD{{Socket: b, Events: vsock.PollIn}}, soon) > 0
	}, "the last of the datagrams")
}

// datagram takes one, which must be this.
func (r *rig) datagram(s vsock.Socket, want string, from vsock.Addr) {
	r.Helper()
	p := make([]byte, len(want)+8)
	n, got, addr, err := s.RecvFrom(p, 0)
	if string(p[:n]) != want || got != 0 || addr != from || err != nil {
		r.Fatalf("received %d bytes (%.20q) from %v, flags %#x, %v; want %d (%.20q) from %v", n, p[:n], addr, got, err, len(want), want, from)
	}
}

// quiet says that there is nothing to receive.
func (r *rig) quiet(s vsock.Socket) {
	r.Helper()
	_, _, err := s.Recv(make([]byte, 1), vsock.MsgDontWait)
	r.want(err, syscall.EAGAIN, "recv")
}
