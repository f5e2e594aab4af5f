package vsocktest

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

var connectTests = []test{
	{name: "binds first", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		if n := r.name(a); n.CID != r.A.CID || n.Port < vsock.FirstUnprivilegedPort || n.Port == vsock.PortAny || r.B.Traits.seen(n) != r.peerName(b) {
			r.Errorf("getsockname %v, the peer's getpeername %v", n, r.peerName(b))
		}
	}},
	{name: "from the port that was bound", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a, want := r.bound(r.A, vsock.Stream)
		err := a.Connect(r.Context(), addr)
		if r.want(err, r.A.Traits.NoBoundConnect, "connect"); err != nil {
			return
		}
		if got := r.peerName(r.accept(l)); got != r.B.Traits.seen(want) || r.name(a) != want {
			r.Errorf("connected from %v, bound to %v", got, want)
		}
	}},
	{name: "refused", run: func(r *rig) {
		begin := time.Now()
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Connect(r.Context(), r.refused()), syscall.ECONNRESET, "connect")
		if took := time.Since(begin); took > vsock.DefaultConnectTimeout/2 {
			r.Errorf("it took %v", took)
		}
	}},
	{name: "refused, as Dial says", run: func(r *rig) {
		_, err := vsock.Dial(r.Context(), r.A.Stack, r.refused())
		r.want(err, syscall.ECONNREFUSED, "dial")
		r.want(err, syscall.ECONNRESET, "dial")
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			r.Errorf("%#v is no *net.OpError of dial", err)
		}
	}},
	{name: "again after a failure", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Connect(r.Context(), r.refused()), syscall.ECONNRESET, "connect")
		l, addr := r.listener(vsock.Stream)
		err := s.Connect(r.Context(), addr)
		if r.want(err, r.A.Traits.NoReconnect, "connect again"); err != nil {
			return
		}
		b := r.accept(l)
		r.send(s, "at last")
		r.recv(b, "at last")
	}},
	{name: "no error is left pending", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Connect(r.Context(), r.refused()), syscall.ECONNRESET, "connect")
		r.has(s, vsock.PendingError, 0)
	}},
	{name: "not connected after a failure", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Connect(r.Context(), r.refused()), syscall.ECONNRESET, "connect")
		_, err := s.RemoteAddr()
		r.want(err, syscall.ENOTCONN, "getpeername")
		_, err = s.Send([]byte("x"), 0)
		r.want(err, syscall.ENOTCONN, "send")
		if err := s.Shutdown(vsock.ShutBoth); r.A.Traits.NoReconnect == nil {
			r.want(err, syscall.ENOTCONN, "shutdown")
		} else {
			r.ok(err, "shutdown")
		}
	}},
	{name: "twice", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		s := r.socket(r.A, vsock.Stream)
		r.connect(s, addr)
		r.want(s.Connect(r.Context(), addr), syscall.EISCONN, "connect")
		r.want(r.accept(l).Connect(r.Context(), addr), syscall.EISCONN, "connect the acceptor")
	}},
	{name: "a listener", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.ok(s.Bind(anyAddr), "bind")
		r.ok(s.Listen(1), "listen")
		_, addr := r.listener(vsock.Stream)
		r.want(s.Connect(r.Context(), addr), syscall.EINVAL, "connect")
	}},
	{name: "to any", run: func(r *rig) {
		want := r.A.Traits.connectAny()
		for _, a := range []vsock.Addr{{CID: vsock.CIDAny, Port: 5000}, anyAddr} {
			r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), a), want, "connect to "+a.String())
		}
	}},
	{name: "to our own CID", on: func(p *Pair) bool { return !p.B.Traits.NoLocal }, run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		c := r.socket(r.B, vsock.Stream)
		r.connect(c, addr)
		b := r.accept(l)
		r.send(c, "to myself")
		r.recv(b, "to myself")
		r.looped(r.peerName(b), r.name(c), r.B.CID)
	}},
	{name: "context has ended", run: func(r *rig) {
		_, addr := r.listener(vsock.Stream)
		s := r.socket(r.A, vsock.Stream)
		r.want(s.Connect(r.cancelled(), addr), context.Canceled, "connect")
		r.connect(s, addr) // it was not tried
	}},
	{name: "two ends of one port pair", run: func(r *rig) {
		// One local port, two remote ones: two connections.
		l1, addr1 := r.listener(vsock.Stream)
		l2, addr2 := r.listener(vsock.Stream)
		a1, a2 := r.socket(r.A, vsock.Stream), r.socket(r.A, vsock.Stream)
		r.connect(a1, addr1)
		r.connect(a2, addr2)
		b1, b2 := r.accept(l1), r.accept(l2)
		r.send(a1, "one")
		r.send(a2, "two")
		r.recv(b2, "two")
		r.recv(b1, "one")
	}},
	{name: "many at once", run: func(r *rig) {
		const n = 16
		l, addr := r.listener(vsock.Stream)
		var waits []func() error
		for range n {
			s := r.socket(r.A, vsock.Stream)
			waits = append(waits, r.background(func() error { return s.Connect(r.Context(), addr) }))
		}
		names := make(map[vsock.Addr]bool)
		for range n {
			names[r.peerName(r.accept(l))] = true
		}
		for _, wait := range waits {
			r.ok(wait(), "connect")
		}
		if len(names) != n && !r.B.Traits.NoPeerPort {
			r.Errorf("%d connectors, %d names", n, len(names))
		}
	}},
	{name: "nonblocking", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		s := r.socket(r.A, vsock.Stream)
		r.nonblock(s)
		r.begin(s, addr)
		if e := r.await(s, vsock.PollOut); e != vsock.PollOut {
			r.Errorf("events %#x, want PollOut alone", e)
		}
		r.has(s, vsock.PendingError, 0)
		r.want(s.Connect(r.Context(), addr), syscall.EISCONN, "connect")
		r.send(s, "x")
		r.recv(r.accept(l), "x")
	}},
	{name: "nonblocking and refused", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		addr := r.refused()
		r.nonblock(s)
		if err := s.Connect(r.Context(), addr); !errors.Is(err, syscall.EINPROGRESS) {
			r.want(err, syscall.ECONNRESET, "connect")
			return
		}
		if e := r.await(s, vsock.PollOut); e&vsock.PollErr == 0 {
			r.Errorf("events %#x, want PollErr among them", e)
		}
		r.has(s, vsock.PendingError, uint64(syscall.ECONNRESET))
		r.has(s, vsock.PendingError, 0)
	}},
	{name: "nonblocking, refused, again", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		l, addr := r.listener(vsock.Stream)
		nobody := r.refused()
		r.nonblock(s)
		if err := s.Connect(r.Context(), nobody); errors.Is(err, syscall.EINPROGRESS) {
			r.await(s, vsock.PollOut)
			r.has(s, vsock.PendingError, uint64(syscall.ECONNRESET))
		}
		if want := r.A.Traits.NoReconnect; want != nil {
			r.want(s.Connect(r.Context(), addr), want, "connect again")
			return
		}
		r.begin(s, addr)
		r.await(s, vsock.PollOut)
		r.has(s, vsock.PendingError, 0)
		r.accept(l)
	}},
	{name: "timeout", on: silent, run: func(r *rig) {
		const timeout = 100 * time.Millisecond
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.ConnectTimeout, uint64(timeout))
		begin := time.Now()
		r.want(s.Connect(r.Context(), *r.Silent), syscall.ETIMEDOUT, "connect")
		if took := time.Since(begin); took < timeout || took > vsock.DefaultConnectTimeout {
			r.Errorf("it took %v, want %v", took, timeout)
		}
		l, addr := r.listener(vsock.Stream)
		r.connect(s, addr)
		r.accept(l)
	}},
	{name: "timeout of the context", on: silent, run: func(r *rig) {
		ctx, cancel := context.WithTimeout(r.Context(), soon)
		defer cancel()
		r.want(r.socket(r.A, vsock.Stream).Connect(ctx, *r.Silent), context.DeadlineExceeded, "connect")
	}},
	{name: "cancelled while waiting", on: silent, run: func(r *rig) {
		ctx, cancel := context.WithCancel(r.Context())
		s := r.socket(r.A, vsock.Stream)
		wait := r.background(func() error { return s.Connect(ctx, *r.Silent) })
		cancel()
		r.want(wait(), context.Canceled, "connect")
		l, addr := r.listener(vsock.Stream)
		r.connect(s, addr)
		r.accept(l)
	}},
	{name: "closed while waiting", on: silent, run: func(r *rig) {
		for range 10 {
			s := r.socket(r.A, vsock.Stream)
			wait := r.background(func() error { return s.Connect(r.Context(), *r.Silent) })
			r.ok(s.Close(), "close")
			r.want(wait(), net.ErrClosed, "connect")
		}
	}},
	{name: "nonblocking, in progress", on: silent, run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.ConnectTimeout, uint64(100*time.Millisecond))
		r.nonblock(s)
		r.want(s.Connect(r.Context(), *r.Silent), syscall.EINPROGRESS, "connect")
		r.idle(s, vsock.PollIn|vsock.PollOut)
		r.want(s.Connect(r.Context(), *r.Silent), syscall.EALREADY, "connect again")
		_, err := s.RemoteAddr()
		r.want(err, syscall.ENOTCONN, "getpeername")
		_, err = s.Send([]byte("x"), 0)
		r.want(err, syscall.ENOTCONN, "send")
		if e := r.await(s, vsock.PollOut); e&vsock.PollErr == 0 {
			r.Errorf("after the timeout: events %#x, want PollErr among them", e)
		}
		r.has(s, vsock.PendingError, uint64(syscall.ETIMEDOUT))
		r.has(s, vsock.PendingError, 0)
	}},
	{name: "nonblocking, timed out, as connect tells", on: silent, run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.ConnectTimeout, uint64(100*time.Millisecond))
		r.nonblock(s)
		r.want(s.Connect(r.Context(), *r.Silent), syscall.EINPROGRESS, "connect")
		r.await(s, vsock.PollOut)
		r.want(s.Connect(r.Context(), *r.Silent), syscall.ETIMEDOUT, "connect again")
	}},
}

// begin connects without waiting: it is in progress, or done if that took no time.
func (r *rig) begin(s vsock.Socket, a vsock.Addr) {
	r.Helper()
	if err := s.Connect(r.Context(), a); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		r.Fatalf("connect: %v", err)
	}
}
