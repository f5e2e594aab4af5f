package vsocktest

import (
	"syscall"

	"vsockets.dev/vsock"
)

var shutdownTests = []test{
	{name: "write is end of file at the peer", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.send(a, "last words")
			r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
			r.recv(b, "last words")
			r.fails(b, errEOF)
			r.fails(b, errEOF)
		})
	}},
	{name: "after write, the other direction goes on", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
			r.fails(b, errEOF)
			for range 10 {
				r.send(b, pattern(10_000))
				r.recv(a, pattern(10_000))
			}
			r.ok(b.Shutdown(vsock.ShutWrite), "shutdown the other way")
			r.fails(a, errEOF)
		})
	}},
	{name: "write, then send", run: func(r *rig) {
		r.ends(func(a, _ vsock.Socket) {
			r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
			n, err := a.Send([]byte("x"), 0)
			if n != 0 {
				r.Errorf("sent %d", n)
			}
			r.want(err, syscall.EPIPE, "send")
		})
	}},
	{name: "read, then recv", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.send(a, "unread")
			r.await(b, vsock.PollIn)
			r.ok(b.Shutdown(vsock.ShutRead), "shutdown")
			r.fails(b, errEOF)
		})
	}},
	{name: "read, then the peer sends", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.ok(b.Shutdown(vsock.ShutRead), "shutdown")
			r.sendFails(a, syscall.EPIPE)
			r.send(b, "still")
			r.recv(a, "still")
		})
	}},
	{name: "both", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.ok(a.Shutdown(vsock.ShutBoth), "shutdown")
			r.fails(a, errEOF)
			r.fails(b, errEOF)
			_, err := a.Send([]byte("x"), 0)
			r.want(err, syscall.EPIPE, "send")
			r.sendFails(b, syscall.EPIPE)
		})
	}},
	{name: "both, with data on the way", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.send(a, "last words")
			r.ok(a.Shutdown(vsock.ShutBoth), "shutdown")
			r.recv(b, "last words")
			r.fails(b, errEOF)
		})
	}},
	{name: "one after the other", run: func(r *rig) {
		r.ends(func(a, b vsock.Socket) {
			r.ok(a.Shutdown(vsock.ShutRead), "shutdown")
			r.send(a, "x")
			r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
			r.recv(b, "x")
			r.fails(b, errEOF)
			r.fails(a, errEOF)
		})
	}},
	{name: "twice", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown again")
		r.send(b, "x")
		r.recv(a, "x")
	}},
	{name: "both ends write", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "from a")
		r.send(b, "from b")
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown a")
		r.ok(b.Shutdown(vsock.ShutWrite), "shutdown b")
		r.recv(a, "from b")
		r.recv(b, "from a")
		r.fails(a, errEOF)
		r.fails(b, errEOF)
	}},
	{name: "after the peer's close", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(b.Close(), "close")
		r.fails(a, errEOF)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		_, err := a.Send([]byte("x"), 0)
		r.want(err, syscall.EPIPE, "send")
	}},
	{name: "not connected", run: func(r *rig) {
		bound, _ := r.bound(r.A, vsock.Stream)
		for state, s := range map[string]vsock.Socket{"new": r.socket(r.A, vsock.Stream), "bound": bound} {
			for _, how := range []vsock.How{vsock.ShutRead, vsock.ShutWrite, vsock.ShutBoth} {
				r.want(s.Shutdown(how), syscall.ENOTCONN, state)
			}
		}
	}},
	{name: "no such direction", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		for _, how := range []vsock.How{0, 4, -1} {
			r.want(a.Shutdown(how), syscall.EINVAL, "shutdown")
		}
		r.send(a, "x")
		r.recv(b, "x")
	}},
}

// ends runs a test on a connection, and on another one with the ends exchanged.
func (r *rig) ends(try func(a, b vsock.Socket)) {
	a, b := r.joined(vsock.Stream)
	try(a, b)
	b, a = r.joined(vsock.Stream)
	try(a, b)
}
