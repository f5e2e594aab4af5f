package vsocktest

import (
	"io"
	"slices"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

var selectTests = []test{
	{name: "nil sets", run: func(r *rig) {
		for _, timeout := range []time.Duration{0, soon} {
			if n := vsock.Select(nil, nil, nil, timeout); n != 0 {
				r.Errorf("select of nothing: %d", n)
			}
		}
	}},
	{name: "zero timeout", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.selects([]vsock.Socket{b}, nil, 0, nil, nil)
		r.selects(nil, []vsock.Socket{a}, 0, nil, []vsock.Socket{a})
	}},
	{name: "timeout gives zero", run: func(r *rig) {
		_, b := r.joined(vsock.Stream)
		begin := time.Now()
		r.selects([]vsock.Socket{b}, nil, soon, nil, nil)
		if took := time.Since(begin); took < soon || took > patience/2 {
			r.Errorf("it took %v, the timeout was %v", took, soon)
		}
	}},
	{name: "infinite", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		wait := r.background(func() error { _, err := a.Send([]byte("x"), 0); return err })
		r.selects([]vsock.Socket{b}, nil, vsock.Infinite, []vsock.Socket{b}, nil)
		r.ok(wait(), "send")
	}},
	{name: "readable", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		r.selects([]vsock.Socket{b}, nil, patience, []vsock.Socket{b}, nil)
		r.selects([]vsock.Socket{b}, nil, 0, []vsock.Socket{b}, nil) // it stays
		r.recv(b, "x")
		r.selects([]vsock.Socket{b}, nil, 0, nil, nil)
	}},
	{name: "writable", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		r.selects(nil, []vsock.Socket{a}, patience, nil, []vsock.Socket{a})
		filled := r.fill(a, b)
		r.selects(nil, []vsock.Socket{a}, 0, nil, nil)
		r.recv(b, filled)
		r.selects(nil, []vsock.Socket{a}, patience, nil, []vsock.Socket{a})
	}},
	{name: "a listener is readable", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		r.selects([]vsock.Socket{l}, nil, 0, nil, nil)
		r.connect(r.socket(r.A, vsock.Stream), addr)
		r.selects([]vsock.Socket{l}, nil, patience, []vsock.Socket{l}, nil)
		r.accept(l)
		r.selects([]vsock.Socket{l}, nil, 0, nil, nil)
	}},
	{name: "end of file is readable", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.selects([]vsock.Socket{b}, nil, patience, []vsock.Socket{b}, nil)
		r.fails(b, errEOF)
	}},
	{name: "closed", run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		r.ok(a.Close(), "close")
		both := []vsock.Socket{a}
		r.selects(both, both, 0, both, both)
	}},
	{name: "closed while waiting", run: func(r *rig) {
		_, b := r.joined(vsock.Stream)
		wait := r.background(b.Close)
		r.selects([]vsock.Socket{b}, nil, patience, []vsock.Socket{b}, nil)
		r.ok(wait(), "close")
	}},
	{name: "in both sets, counts twice", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		r.await(b, vsock.PollIn)
		both := []vsock.Socket{b}
		r.selects(both, both, 0, both, both)
	}},
	{name: "keeps those that are ready", run: func(r *rig) {
		a1, b1 := r.joined(vsock.Stream)
		_, b2 := r.joined(vsock.Stream)
		a3, b3 := r.joined(vsock.Stream)
		r.send(a1, "x")
		r.send(a3, "x")
		r.await(b1, vsock.PollIn)
		r.await(b3, vsock.PollIn)
		r.selects([]vsock.Socket{b1, b2, b3}, []vsock.Socket{a1}, 0, []vsock.Socket{b1, b3}, []vsock.Socket{a1})
	}},
	{name: "sockets of both ends", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		set := []vsock.Socket{a, b}
		r.selects(set, nil, 0, nil, nil)
		r.send(a, "x")
		r.selects(set, nil, patience, []vsock.Socket{b}, nil)
		r.send(b, "y")
		r.await(a, vsock.PollIn)
		r.selects(set, nil, 0, set, nil)
	}},
	{name: "exceptions", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		r.await(b, vsock.PollIn)
		except := []vsock.Socket{a, b}
		if n := vsock.Select(nil, nil, &except, 0); n != 0 || len(except) != 0 {
			r.Errorf("select: %d, left %d; want no exceptions", n, len(except))
		}
	}},
}

// selects says what Select must leave of the sets.
func (r *rig) selects(read, write []vsock.Socket, timeout time.Duration, wantRead, wantWrite []vsock.Socket) {
	r.Helper()
	read, write = slices.Clone(read), slices.Clone(write)
	n := vsock.Select(&read, &write, nil, timeout)
	if n != len(wantRead)+len(wantWrite) || !slices.Equal(read, wantRead) || !slices.Equal(write, wantWrite) {
		r.Errorf("select: %d; %d readable, %d writable; want %d and %d, or others", n, len(read), len(write), len(wantRead), len(wantWrite))
	}
}

var pollTests = []test{
	{name: "nothing to wait for", run: func(r *rig) {
		begin := time.Now()
		if n := vsock.Poll([]vsock.PollFD{{Socket: nil, Events: vsock.PollIn}}, soon); n != 0 || time.Since(begin) < soon {
			r.Errorf("poll of a nil socket: %d after %v", n, time.Since(begin))
		}
	}},
	{name: "connected", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		for _, s := range []vsock.Socket{a, b} {
			r.idle(s, vsock.PollIn|vsock.PollPri|vsock.PollRdHup)
			if e := r.await(s, vsock.PollIn|vsock.PollOut|vsock.PollRdHup); e != vsock.PollOut {
				r.Errorf("events %#x, want PollOut", e)
			}
		}
	}},
	{name: "only what was asked for", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		if e := r.await(b, vsock.PollIn); e != vsock.PollIn {
			r.Errorf("events %#x, want PollIn", e)
		}
		r.idle(b, vsock.PollRdHup)
	}},
	{name: "in while waiting", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		wait := r.background(func() error { _, err := a.Send([]byte("x"), 0); return err })
		r.await(b, vsock.PollIn)
		r.ok(wait(), "send")
	}},
	{name: "out after credit is freed", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		filled := r.fill(a, b)
		r.idle(a, vsock.PollOut)
		wait := r.background(func() error {
			_, err := io.ReadFull(b, make([]byte, len(filled)))
			return err
		})
		r.await(a, vsock.PollOut)
		r.ok(wait(), "read")
	}},
	{name: "peer's half-close", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		e := r.await(b, vsock.PollIn|vsock.PollRdHup)
		if want := vsock.PollIn | vsock.PollRdHup; e != want {
			r.Errorf("events %#x, want %#x", e, want)
		}
	}},
	{name: "peer's half-close, not asked for", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.fails(b, errEOF)
		r.idle(b, vsock.PollPri)
	}},
	{name: "both have ended", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.ok(b.Shutdown(vsock.ShutWrite), "shutdown")
		for _, s := range []vsock.Socket{a, b} {
			r.awaits(s, vsock.PollHup|vsock.PollRdHup|vsock.PollIn)
			if e := r.await(s, 0); e != vsock.PollHup { // it need not be asked for
				r.Errorf("events %#x, want PollHup", e)
			}
		}
	}},
	{name: "closed by the peer", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(b.Close(), "close")
		if r.A.Traits.NoHangup {
			r.awaits(a, vsock.PollIn|vsock.PollRdHup)
			r.idle(a, 0)
			return
		}
		r.awaits(a, vsock.PollIn|vsock.PollRdHup|vsock.PollHup)
		if e := a.Ready(); e&vsock.PollErr != 0 {
			r.Errorf("events %#x, an end in good order is no error", e)
		}
	}},
	{name: "closed by the peer, data left", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(b, "left")
		r.ok(b.Close(), "close")
		r.awaits(a, vsock.PollIn|vsock.PollRdHup)
		r.recv(a, "left")
		r.awaits(a, vsock.PollIn|vsock.PollRdHup)
		r.fails(a, errEOF)
	}},
	{name: "closed", run: func(r *rig) {
		l, _ := r.listener(vsock.Stream)
		a, _ := r.joined(vsock.Stream)
		for _, s := range []vsock.Socket{l, a, r.socket(r.A, vsock.Stream)} {
			r.ok(s.Close(), "close")
			if e := r.await(s, vsock.PollIn|vsock.PollOut); e != vsock.PollNval {
				r.Errorf("events %#x, want PollNval", e)
			}
		}
	}},
	{name: "closed while waiting", run: func(r *rig) {
		for range 10 {
			l, _ := r.listener(vsock.Stream)
			_, b := r.joined(vsock.Stream)
			for _, s := range []vsock.Socket{l, b} {
				wait := r.background(s.Close)
				if e := r.await(s, vsock.PollIn); e != vsock.PollNval {
					r.Errorf("events %#x, want PollNval", e)
				}
				r.ok(wait(), "close")
			}
		}
	}},
	{name: "failed connect", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		addr := r.refused()
		r.nonblock(s)
		if err := s.Connect(r.Context(), addr); err == nil {
			r.Fatal("connect succeeded")
		}
		// Connect may have told the outcome already; else it is pending here.
		if e := r.await(s, vsock.PollOut); e&vsock.PollErr != 0 {
			r.has(s, vsock.PendingError, uint64(syscall.ECONNRESET))
		}
		r.has(s, vsock.PendingError, 0)
		if e := s.Ready(); e&vsock.PollErr != 0 {
			r.Errorf("events %#x, the error was taken", e)
		}
	}},
	{name: "a listener is readable", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		r.idle(l, vsock.PollIn|vsock.PollOut)
		a := r.socket(r.A, vsock.Stream)
		wait := r.background(func() error { return a.Connect(r.Context(), addr) })
		if e := r.await(l, vsock.PollIn|vsock.PollOut); e != vsock.PollIn {
			r.Errorf("events %#x, want PollIn", e)
		}
		r.ok(wait(), "connect")
		r.accept(l)
		r.idle(l, vsock.PollIn|vsock.PollOut)
	}},
	{name: "receive low water", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.set(b, vsock.ReceiveLowWater, 10)
		r.send(a, "12345")
		// The five bytes are there when this is, and count for nothing. Linux would not
		// wake a call for them that came before.
		p := make([]byte, 5)
		r.until(func() bool {
			n, _, _ := b.Recv(p, vsock.MsgPeek|vsock.MsgDontWait)
			return n > 0
		}, "five bytes")
		r.idle(b, vsock.PollIn)
		r.send(a, "67890")
		r.await(b, vsock.PollIn)
		r.recv(b, "1234567890")
		r.idle(b, vsock.PollIn)
	}},
	{name: "receive low water lowered", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.set(b, vsock.ReceiveLowWater, 10)
		r.send(a, "1")
		r.set(b, vsock.ReceiveLowWater, 1)
		r.await(b, vsock.PollIn)
	}},
	{name: "receive low water and end of file", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.set(b, vsock.ReceiveLowWater, 10)
		r.send(a, "1")
		r.ok(a.Shutdown(vsock.ShutWrite), "shutdown")
		r.await(b, vsock.PollIn)
		r.recv(b, "1")
	}},
	{name: "many", run: func(r *rig) {
		const n = 16
		var fds []vsock.PollFD
		var as []vsock.Socket
		for range n {
			a, b := r.joined(vsock.Stream)
			fds = append(fds, vsock.PollFD{Socket: b, Events: vsock.PollIn})
			as = append(as, a)
		}
		for i, a := range as {
			r.send(a, "x")
			if got := vsock.Poll(fds, patience); got != 1 || fds[i].Revents != vsock.PollIn {
				r.Fatalf("poll: %d, socket %d has %#x", got, i, fds[i].Revents)
			}
			r.recv(fds[i].Socket, "x")
		}
	}},
}
