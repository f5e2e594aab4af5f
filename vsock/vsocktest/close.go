package vsocktest

import (
	"net"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

var closeTests = []test{
	{name: "end of file at the peer", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.ok(a.Close(), "close")
			r.fails(b, errEOF)
			r.sendFails(b, syscall.EPIPE)
		})
	}},
	{name: "pending data is still read", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			p := pattern(60_000)
			r.send(a, p)
			r.ok(a.Close(), "close")
			r.sendFails(b, syscall.EPIPE)
			r.recv(b, p)
			r.fails(b, errEOF)
		})
	}},
	{name: "after half-close", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.send(a, "request")
			r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
			r.recv(b, "request")
			r.fails(b, errEOF)
			r.send(b, "answer")
			r.ok(b.Close(), "close")
			r.recv(a, "answer")
			r.fails(a, errEOF)
			r.ok(a.Close(), "close")
		})
	}},
	{name: "with data unread", run: func(r *rig) {
		closer, peer := &r.B.Traits, &r.A.Traits
		r.ends(func(a, b vsock.Socket) {
			recv, send := peer.unread(closer)
			r.send(a, "unread")
			r.await(b, vsock.PollIn)
			r.ok(b.Close(), "close")
			r.fails(a, recv)
			r.sendFails(a, send)
			closer, peer = peer, closer
		})
	}},
	{name: "twice", run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.ok(a.Close(), "close")
		r.want(a.Close(), net.ErrClosed, "close again")
	}},
	{name: "both at once", run: func(r *rig) {
		for range 20 {
			a, b := r.joined(vsock.Stream)
			wait := r.background(a.Close)
			r.ok(b.Close(), "close")
			r.ok(wait(), "close")
		}
		// What they left does not stand in the way of another.
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		r.recv(b, "x")
	}},
	{name: "from several goroutines", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		var waits []func() error
		for range 4 {
			waits = append(waits, r.background(a.Close))
		}
		closed := 0
		for _, wait := range waits {
			if err := wait(); err == nil {
				closed++
			} else {
				r.want(err, net.ErrClosed, "close")
			}
		}
		if closed != 1 {
			r.Errorf("%d of 4 closes succeeded, want 1", closed)
		}
		r.fails(b, errEOF)
	}},
	{name: "new and bound sockets", run: func(r *rig) {
		r.ok(r.socket(r.A, vsock.Stream).Close(), "close")
		s, _ := r.bound(r.A, vsock.Stream)
		r.ok(s.Close(), "close")
	}},
	{name: "a listener leaves its connections", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a := r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
		b := r.accept(l)
		r.ok(l.Close(), "close")
		r.send(a, "x")
		r.recv(b, "x")
		r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), addr), syscall.ECONNRESET, "connect")
	}},
	{name: "many connections one after another", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		for i := range 100 {
			if i%(renewEvery/10) == 0 {
				r.ok(renew(l), "set the deadlines")
			}
			a := r.socket(r.A, vsock.Stream)
			r.connect(a, addr)
			b := r.accept(l)
			r.send(a, "x")
			r.recv(b, "x")
			r.ok(a.Close(), "close")
			r.fails(b, errEOF)
			r.ok(b.Close(), "close")
		}
	}},
	{name: "the same port pair again", on: func(p *Pair) bool { return p.A.Traits.NoBoundConnect == nil }, run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a, from := r.bound(r.A, vsock.Stream)
		r.connect(a, addr)
		b := r.accept(l)
		r.ok(a.Close(), "close")
		r.fails(b, errEOF)
		r.ok(b.Close(), "close")
		a = r.socket(r.A, vsock.Stream)
		r.until(func() bool { return a.Bind(from) == nil }, "the port is free")
		r.until(func() bool {
			if a.Connect(r.Context(), addr) == nil {
				return true
			}
			// The end of the old flow may come late, as Linux's second RST does, and
			// hit the new one when B has taken that already.
			if vsock.Poll([]vsock.PollFD{{Socket: l, Events: vsock.PollIn}}, 50*time.Millisecond) > 0 {
				r.ok(r.accept(l).Close(), "close")
			}
			return false
		}, "the flow is over")
		b = r.accept(l)
		r.send(a, "new")
		r.recv(b, "new")
	}},
}

var resetTests = []test{
	{name: "recv and send", on: vanishes, run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.Vanish()
		recv, send := r.A.Traits.reset()
		r.fails(a, recv)
		r.sendFails(a, send)
		r.fails(a, recv)
	}},
	{name: "data that has arrived is still read", on: vanishes, run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(b, "unread")
		r.await(a, vsock.PollIn)
		r.Vanish()
		recv, _ := r.A.Traits.reset()
		r.recv(a, "unread")
		r.fails(a, recv)
	}},
	{name: "while receiving", on: vanishes, run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		wait := r.background(func() error { _, _, err := a.Recv(make([]byte, 1), 0); return err })
		r.Vanish()
		recv, _ := r.A.Traits.reset()
		r.want(wait(), recv, "recv")
	}},
	{name: "while waiting for credit", on: vanishes, run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		r.fill(a, b)
		wait := r.background(func() error { _, err := a.Send([]byte("x"), 0); return err })
		r.Vanish()
		_, send := r.A.Traits.reset()
		r.want(wait(), send, "send")
	}},
	{name: "after the peer's half-close, no error", on: vanishes, run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(b.Shutdown(vsock.ShutWrite), "shutdown")
		r.fails(a, errEOF)
		r.Vanish()
		r.sendFails(a, syscall.EPIPE)
		r.fails(a, errEOF)
	}},
	{name: "pending error", on: vanishes, run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.Vanish()
		if r.A.Traits.ResetIsEOF {
			r.await(a, vsock.PollRdHup)
			r.has(a, vsock.PendingError, 0)
			return
		}
		r.await(a, vsock.PollErr)
		r.has(a, vsock.PendingError, uint64(syscall.ECONNRESET))
		r.has(a, vsock.PendingError, 0)
		if e := a.Ready(); e&vsock.PollErr != 0 {
			r.Errorf("events %#x, the error was taken", e)
		}
	}},
	{name: "poll", on: vanishes, run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.Vanish()
		want := vsock.PollIn | vsock.PollRdHup
		if !r.A.Traits.ResetIsEOF {
			want |= vsock.PollErr | vsock.PollHup | vsock.PollOut
		}
		r.awaits(a, want)
	}},
	{name: "shutdown", on: vanishes, run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.Vanish()
		recv, _ := r.A.Traits.reset()
		r.fails(a, recv)
		if err := a.Shutdown(vsock.ShutWrite); r.A.Traits.ResetIsEOF {
			r.ok(err, "shutdown")
		} else {
			r.want(err, syscall.ENOTCONN, "shutdown")
		}
	}},
	{name: "of messages", on: func(p *Pair) bool { return vanishes(p) && seqpackets(p) }, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		r.send(b, "unread")
		r.await(a, vsock.PollIn)
		r.Vanish()
		recv, send := r.A.Traits.reset()
		r.message(a, "unread")
		r.fails(a, recv)
		r.sendFails(a, send)
	}},
	{name: "all connections", on: vanishes, run: func(r *rig) {
		var socks []vsock.Socket
		for range 10 {
			a, _ := r.joined(vsock.Stream)
			socks = append(socks, a)
		}
		r.Vanish()
		recv, _ := r.A.Traits.reset()
		for _, a := range socks {
			r.fails(a, recv)
		}
	}},
	{name: "connect to one that is gone", on: vanishes, run: func(r *rig) {
		_, addr := r.listener(vsock.Stream)
		r.Vanish()
		r.want(r.socket(r.A, vsock.Stream).Connect(r.Context(), addr), syscall.ECONNRESET, "connect")
	}},
	{name: "names stay", on: vanishes, run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		name, peer := r.name(a), r.peerName(a)
		r.Vanish()
		recv, _ := r.A.Traits.reset()
		r.fails(a, recv)
		if r.name(a) != name || r.peerName(a) != peer {
			r.Errorf("%v > %v has become %v > %v", name, peer, r.name(a), r.peerName(a))
		}
	}},
}
