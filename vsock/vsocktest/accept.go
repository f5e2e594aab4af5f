package vsocktest

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

var acceptTests = []test{
	{name: "address is the connector's", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a := r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
		b, from, err := l.Accept()
		r.ok(err, "accept")
		r.own(b)
		if want := r.B.Traits.seen(r.name(a)); from != want || r.peerName(b) != want || want.CID != r.A.CID {
			r.Errorf("accepted from %v, getpeername %v, the connector's name is %v", from, r.peerName(b), want)
		}
		if r.name(b) != addr || r.peerName(a) != addr {
			r.Errorf("acceptor's name %v, connector's peer %v, listener %v", r.name(b), r.peerName(a), addr)
		}
		if b.Type() != vsock.Stream {
			r.Errorf("type %v", b.Type())
		}
	}},
	{name: "waits for a connection", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		wait := r.background(func() error {
			s, _, err := l.Accept()
			if err == nil {
				err = s.Close()
			}
			return err
		})
		r.connect(r.socket(r.A, vsock.Stream), addr)
		r.ok(wait(), "accept")
	}},
	{name: "several, in order", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		var want []vsock.Addr
		for range 5 {
			a := r.socket(r.A, vsock.Stream)
			r.connect(a, addr)
			want = append(want, r.B.Traits.seen(r.name(a)))
		}
		for _, w := range want {
			if got := r.peerName(r.accept(l)); got != w {
				r.Errorf("accepted %v, want %v", got, w)
			}
		}
	}},
	{name: "several waiters", run: func(r *rig) {
		const n = 4
		l, addr := r.listener(vsock.Stream)
		var waits []func() error
		for range n {
			waits = append(waits, r.background(func() error {
				s, _, err := l.Accept()
				if err == nil {
					err = s.Close()
				}
				return err
			}))
		}
		for range n {
			r.connect(r.socket(r.A, vsock.Stream), addr)
		}
		for _, wait := range waits {
			r.ok(wait(), "accept")
		}
	}},
	{name: "not listening", run: func(r *rig) {
		a, _ := r.joined(vsock.Stream)
		bound, _ := r.bound(r.A, vsock.Stream)
		for state, s := range map[string]vsock.Socket{"new": r.socket(r.A, vsock.Stream), "bound": bound, "connected": a} {
			_, _, err := s.Accept()
			r.want(err, syscall.EINVAL, state)
		}
	}},
	{name: "datagram socket", on: datagrams, run: func(r *rig) {
		s, _ := r.bound(r.A, vsock.Datagram)
		_, _, err := s.Accept()
		r.want(err, syscall.EOPNOTSUPP, "accept")
	}},
	{name: "deadline passes", run: func(r *rig) {
		l, _ := r.listener(vsock.Stream)
		r.passes(l.SetReadDeadline, func() error { _, _, err := l.Accept(); return err })
	}},
	{name: "deadline while waiting", run: func(r *rig) {
		l, _ := r.listener(vsock.Stream)
		wait := r.background(func() error { _, _, err := l.Accept(); return err })
		r.ok(l.SetReadDeadline(past), "SetReadDeadline")
		r.want(wait(), os.ErrDeadlineExceeded, "accept")
	}},
	{name: "after a deadline, a later one", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		r.ok(l.SetReadDeadline(past), "SetReadDeadline")
		_, _, err := l.Accept()
		r.want(err, os.ErrDeadlineExceeded, "accept")
		r.ok(l.SetReadDeadline(time.Now().Add(patience)), "SetReadDeadline")
		r.connect(r.socket(r.A, vsock.Stream), addr)
		r.accept(l)
	}},
	{name: "nonblocking", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		r.nonblock(l)
		_, _, err := l.Accept()
		r.want(err, syscall.EAGAIN, "accept")
		r.connect(r.socket(r.A, vsock.Stream), addr)
		r.await(l, vsock.PollIn)
		b := r.accept(l)
		// The connection is a socket of its own, and waits.
		r.ok(b.SetReadDeadline(time.Now().Add(soon)), "SetReadDeadline")
		r.fails(b, os.ErrDeadlineExceeded)
	}},
	{name: "closed while waiting", run: func(r *rig) {
		for range 10 {
			l, _ := r.listener(vsock.Stream)
			var waits []func() error
			for range 3 {
				waits = append(waits, r.background(func() error { _, _, err := l.Accept(); return err }))
			}
			r.ok(l.Close(), "close")
			for _, wait := range waits {
				r.want(wait(), net.ErrClosed, "accept")
			}
		}
	}},
	{name: "closed while connecting", run: func(r *rig) {
		for range 20 {
			l, addr := r.listener(vsock.Stream)
			a := r.socket(r.A, vsock.Stream)
			wait := r.background(func() error { return a.Connect(r.Context(), addr) })
			r.ok(l.Close(), "close")
			if err := wait(); err != nil {
				r.want(err, syscall.ECONNRESET, "connect")
				continue
			}
			if n, _, err := a.Recv(make([]byte, 1), 0); n != 0 || err == nil {
				r.Fatalf("recv on a connection that nobody accepted: %d, %v", n, err)
			}
		}
	}},
	{name: "peer has sent and closed", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a := r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
		from := r.B.Traits.seen(r.name(a))
		r.send(a, "and goodbye")
		r.ok(a.Close(), "close")
		b := r.accept(l)
		if got := r.peerName(b); got != from {
			r.Errorf("getpeername %v, want %v", got, from)
		}
		r.recv(b, "and goodbye")
		r.fails(b, errEOF)
	}},
	{name: "connections nobody accepted end with the listener", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		a := r.socket(r.A, vsock.Stream)
		r.connect(a, addr)
		r.await(l, vsock.PollIn)
		r.ok(l.Close(), "close")
		recv, send := r.A.Traits.reset()
		if r.B.Traits.OrderlyListenerClose {
			recv, send = errEOF, syscall.EPIPE
		}
		r.fails(a, recv)
		r.sendFails(a, send)
	}},
}

var (
	never time.Time         // no deadline
	past  = time.Unix(1, 0) // a deadline that has passed
)

// passes says that a call waits for a deadline, neither less nor more.
func (r *rig) passes(set func(time.Time) error, do func() error) {
	r.Helper()
	begin := time.Now()
	r.ok(set(begin.Add(soon)), "set the deadline")
	err := do()
	r.want(err, os.ErrDeadlineExceeded, "deadline")
	var timeout net.Error
	if errors.As(err, &timeout) && !timeout.Timeout() {
		r.Errorf("%v is no timeout", err)
	}
	if took := time.Since(begin); took < soon || took > patience/2 {
		r.Errorf("it took %v, the deadline was after %v", took, soon)
	}
}
