package vsocktest

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

var recvTests = []test{
	{name: "takes no more than asked for", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "abcdef")
		r.recv(b, "ab")
		r.recv(b, "c")
		r.recv(b, "def")
	}},
	{name: "gives what there is", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "abc")
		n, got, err := b.Recv(make([]byte, 4096), 0)
		if n != 3 || got != 0 || err != nil {
			r.Errorf("recv: %d, %#x, %v; want 3 bytes", n, got, err)
		}
	}},
	{name: "a stream keeps no boundaries", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "ab")
		r.send(a, "cd")
		r.awaitUnread(b, 4)
		n, _, err := b.Recv(make([]byte, 4096), 0)
		if n != 4 || err != nil {
			r.Errorf("recv: %d, %v; want 4 bytes", n, err)
		}
	}},
	{name: "zero length", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		if n, _, err := b.Recv(nil, 0); n != 0 || err != nil {
			r.Errorf("recv of nothing from nothing: %d, %v", n, err)
		}
		r.send(a, "x")
		r.await(b, vsock.PollIn)
		if n, _, err := b.Recv(nil, 0); n != 0 || err != nil {
			r.Errorf("recv of nothing: %d, %v", n, err)
		}
		r.recv(b, "x")
	}},
	{name: "not connected", run: func(r *rig) {
		l, _ := r.listener(vsock.Stream)
		bound, _ := r.bound(r.A, vsock.Stream)
		for state, s := range map[string]vsock.Socket{"new": r.socket(r.A, vsock.Stream), "bound": bound, "listening": l} {
			_, _, err := s.Recv(make([]byte, 1), 0)
			r.want(err, syscall.ENOTCONN, state)
		}
	}},
	{name: "recvfrom tells the peer", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		n, _, from, err := b.RecvFrom(make([]byte, 8), 0)
		if want := r.B.Traits.seen(r.name(a)); n != 1 || from != want || err != nil {
			r.Errorf("recvfrom: %d from %v, %v; want 1 from %v", n, from, err, want)
		}
	}},
	{name: "peek", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "abcd")
		r.awaitUnread(b, 4)
		p := make([]byte, 8)
		for _, want := range []string{"abcd", "abcd"} {
			if n, _, err := b.Recv(p, vsock.MsgPeek); string(p[:n]) != want || err != nil {
				r.Errorf("peek: %q, %v; want %q", p[:n], err, want)
			}
		}
		if n, _, err := b.Recv(p[:2], vsock.MsgPeek); string(p[:n]) != "ab" || err != nil {
			r.Errorf("peek: %q, %v; want ab", p[:n], err)
		}
		r.recv(b, "abc")
		if n, _, err := b.Recv(p, vsock.MsgPeek); string(p[:n]) != "d" || err != nil {
			r.Errorf("peek: %q, %v; want d", p[:n], err)
		}
	}},
	{name: "peek waits", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		wait := r.background(func() error {
			if n, _, err := b.Recv(make([]byte, 4), vsock.MsgPeek); n == 0 || err != nil {
				return errors.Join(err, errors.New("peek gave nothing"))
			}
			return nil
		})
		r.send(a, "x")
		r.ok(wait(), "peek")
		r.recv(b, "x")
	}},
	{name: "nonblocking", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.nonblock(b)
		_, _, err := b.Recv(make([]byte, 4), 0)
		r.want(err, syscall.EAGAIN, "recv")
		_, _, err = b.Recv(make([]byte, 4), vsock.MsgPeek)
		r.want(err, syscall.EAGAIN, "peek")
		r.send(a, "x")
		r.await(b, vsock.PollIn)
		r.recv(b, "x")
		_, _, err = b.Recv(make([]byte, 4), 0)
		r.want(err, syscall.EAGAIN, "recv")
		r.ok(b.SetNonblock(false), "SetNonblock")
		wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 4), 0); return err })
		r.send(a, "y")
		r.ok(wait(), "recv that waits again")
	}},
	{name: "MsgDontWait", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		_, _, err := b.Recv(make([]byte, 4), vsock.MsgDontWait)
		r.want(err, syscall.EAGAIN, "recv")
		r.send(a, "x")
		r.recv(b, "x")
	}},
	{name: "deadline passes", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.passes(b.SetReadDeadline, func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(b.SetReadDeadline(time.Now().Add(patience)), "SetReadDeadline")
		r.send(a, "later")
		r.recv(b, "later")
	}},
	{name: "deadline has passed, data is there", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "x")
		r.await(b, vsock.PollIn)
		r.ok(b.SetReadDeadline(past), "SetReadDeadline")
		_, _, err := b.Recv(make([]byte, 1), 0)
		r.want(err, os.ErrDeadlineExceeded, "recv")
		r.ok(b.SetReadDeadline(never), "SetReadDeadline")
		r.recv(b, "x")
	}},
	{name: "deadline while waiting", run: func(r *rig) {
		_, b := r.joined(vsock.Stream)
		wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(b.SetReadDeadline(past), "SetReadDeadline")
		r.want(wait(), os.ErrDeadlineExceeded, "recv")
	}},
	{name: "the write deadline is another's", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.ok(b.SetWriteDeadline(past), "SetWriteDeadline")
		r.send(a, "x")
		r.recv(b, "x")
	}},
	{name: "closed while waiting", run: func(r *rig) {
		for range 10 {
			_, b := r.joined(vsock.Stream)
			wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
			r.ok(b.Close(), "close")
			r.want(wait(), net.ErrClosed, "recv")
		}
	}},
	{name: "peer closes while waiting", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(a.Close(), "close")
		r.want(wait(), io.EOF, "recv")
	}},
	{name: "shutdown while waiting", run: func(r *rig) {
		_, b := r.joined(vsock.Stream)
		wait := r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err })
		r.ok(b.Shutdown(vsock.ShutRead), "shutdown")
		r.want(wait(), io.EOF, "recv")
	}},
	{name: "several waiters", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		var waits []func() error
		for range 4 {
			waits = append(waits, r.background(func() error { _, _, err := b.Recv(make([]byte, 1), 0); return err }))
		}
		r.send(a, "1234")
		for _, wait := range waits {
			r.ok(wait(), "recv")
		}
	}},
}

var readWriteTests = []test{
	{name: "are recv and send", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		if n, err := a.Write([]byte("abc")); n != 3 || err != nil {
			r.Fatalf("write: %d, %v", n, err)
		}
		p := make([]byte, 8)
		if n, err := b.Read(p); string(p[:n]) != "abc" || err != nil {
			r.Fatalf("read: %q, %v", p[:n], err)
		}
	}},
	{name: "end of file", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		r.send(a, "all")
		r.ok(a.Close(), "close")
		if got, err := io.ReadAll(b); string(got) != "all" || err != nil {
			r.Errorf("ReadAll: %q, %v", got, err)
		}
	}},
	{name: "errors", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		_, err := s.Read(make([]byte, 1))
		r.want(err, syscall.ENOTCONN, "read")
		_, err = s.Write([]byte("x"))
		r.want(err, syscall.ENOTCONN, "write")
	}},
	{name: "of a seqpacket socket, one message", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		for _, m := range []string{"one", "three"} {
			if n, err := a.Write([]byte(m)); n != len(m) || err != nil {
				r.Fatalf("write: %d, %v", n, err)
			}
		}
		p := make([]byte, 8)
		for _, want := range []string{"one", "three"} {
			if n, err := b.Read(p); string(p[:n]) != want || err != nil {
				r.Errorf("read: %q, %v; want %q", p[:n], err, want)
			}
		}
	}},
}

// awaitUnread waits until so many bytes can be read.
func (r *rig) awaitUnread(s vsock.Socket, n int) {
	r.Helper()
	r.set(s, vsock.ReceiveLowWater, uint64(n))
	r.await(s, vsock.PollIn)
	r.set(s, vsock.ReceiveLowWater, 1)
}
