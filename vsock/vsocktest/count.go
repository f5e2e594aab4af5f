package vsocktest

import "vsockets.dev/vsock"

// countTests are of the ioctls SIOCINQ and SIOCOUTQ.
var countTests = []test{
	{name: "SIOCINQ", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		if r.hasNot(b, vsock.Unread, r.B.Traits.NoUnread) {
			return
		}
		r.has(b, vsock.Unread, 0)
		r.send(a, "12345")
		r.until(func() bool { return r.get(b, vsock.Unread) == 5 }, "5 bytes unread")
		r.recv(b, "12")
		r.has(b, vsock.Unread, 3)
		_, _, err := b.Recv(make([]byte, 2), vsock.MsgPeek)
		r.ok(err, "peek")
		r.has(b, vsock.Unread, 3)
		r.recv(b, "345")
		r.has(b, vsock.Unread, 0)
	}},
	{name: "SIOCINQ of a message", on: seqpackets, run: func(r *rig) {
		a, b := r.joined(vsock.Seqpacket)
		if r.hasNot(b, vsock.Unread, r.B.Traits.NoUnread) {
			return
		}
		r.send(a, "123")
		r.send(a, "12345")
		r.await(b, vsock.PollIn)
		r.has(b, vsock.Unread, 3)
		r.message(b, "123")
		r.await(b, vsock.PollIn)
		r.has(b, vsock.Unread, 5)
	}},
	{name: "SIOCINQ of a datagram", on: datagrams, run: func(r *rig) {
		a, _ := r.bound(r.A, vsock.Datagram)
		b, to := r.bound(r.B, vsock.Datagram)
		r.has(b, vsock.Unread, 0)
		r.sendTo(a, "123", to)
		r.sendTo(a, "12345", to)
		r.await(b, vsock.PollIn)
		r.has(b, vsock.Unread, 3)
	}},
	{name: "SIOCINQ after the peer's close", run: func(r *rig) {
		a, b := r.joined(vsock.Stream)
		if r.hasNot(b, vsock.Unread, r.B.Traits.NoUnread) {
			return
		}
		r.send(a, "12345")
		r.ok(a.Close(), "close")
		r.awaits(b, vsock.PollRdHup)
		r.has(b, vsock.Unread, 5)
	}},
	{name: "SIOCOUTQ", run: func(r *rig) {
		a, b := r.sized(vsock.Stream, smallBuffer)
		if r.hasNot(a, vsock.Unsent, r.A.Traits.NoUnsent) {
			return
		}
		r.has(a, vsock.Unsent, 0)
		filled := r.fill(a, b)
		if n := r.get(a, vsock.Unsent); n == 0 || n > uint64(len(filled)) || n == uint64(len(filled)) == r.relayed() {
			r.Errorf("%d bytes of %d are unsent", n, len(filled))
		}
		r.recv(b, filled)
		// The peer tells of what was taken when half its buffer is free.
		r.await(a, vsock.PollOut)
		r.until(func() bool { return r.get(a, vsock.Unsent) <= smallBuffer/2 }, "at most half unsent")
	}},
	{name: "a socket that is nothing", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		if !r.hasNot(s, vsock.Unread, r.A.Traits.NoUnread) {
			r.has(s, vsock.Unread, 0)
		}
		if !r.hasNot(s, vsock.Unsent, r.A.Traits.NoUnsent) {
			r.has(s, vsock.Unsent, 0)
		}
	}},
}

// hasNot checks the error of an option that an end does not have.
func (r *rig) hasNot(s vsock.Socket, o vsock.Option, want error) bool {
	r.Helper()
	if want != nil {
		_, err := s.Option(o)
		r.want(err, want, o.String())
	}
	return want != nil
}
