package vsocktest

import (
	"net"

	"vsockets.dev/vsock"
)

var socketTests = []test{
	{name: "stream", run: func(r *rig) { r.want(typeOf(r, vsock.Stream), nil, "type") }},
	{name: "seqpacket", run: func(r *rig) { r.want(typeOf(r, vsock.Seqpacket), r.A.Traits.NoSeqpacketSocket, "type") }},
	{name: "datagram", run: func(r *rig) { r.want(typeOf(r, vsock.Datagram), r.A.Traits.NoDatagrams, "type") }},
	{name: "unknown type", run: func(r *rig) {
		if _, err := r.A.Stack.Socket(vsock.Type(99)); err == nil {
			r.Error("a socket of type 99")
		}
	}},
	{name: "every call after close", run: afterClose},
}

func typeOf(r *rig, typ vsock.Type) error {
	s, err := r.A.Stack.Socket(typ)
	if err != nil {
		return err
	}
	if got := r.own(s).Type(); got != typ {
		r.Errorf("Type() is %v, want %v", got, typ)
	}
	return nil
}

// afterClose tries all calls on sockets that are closed, from every state.
func afterClose(r *rig) {
	connected, accepted := r.joined(vsock.Stream)
	listener, addr := r.listener(vsock.Stream)
	bound, _ := r.bound(r.A, vsock.Stream)
	sockets := map[string]vsock.Socket{
		"connected": connected, "accepted": accepted, "listening": listener, "bound": bound,
		"new": r.socket(r.A, vsock.Stream),
	}
	if r.A.Traits.NoDatagrams == nil {
		sockets["datagram"], _ = r.bound(r.A, vsock.Datagram)
	}
	p := make([]byte, 1)
	for state, s := range sockets {
		r.ok(s.Close(), "close")
		for name, do := range map[string]func() error{
			"bind":             func() error { return s.Bind(anyAddr) },
			"listen":           func() error { return s.Listen(1) },
			"accept":           func() error { _, _, err := s.Accept(); return err },
			"connect":          func() error { return s.Connect(r.Context(), addr) },
			"recv":             func() error { _, _, err := s.Recv(p, 0); return err },
			"recvfrom":         func() error { _, _, _, err := s.RecvFrom(p, 0); return err },
			"send":             func() error { _, err := s.Send(p, 0); return err },
			"sendto":           func() error { _, err := s.SendTo(p, 0, addr); return err },
			"read":             func() error { _, err := s.Read(p); return err },
			"write":            func() error { _, err := s.Write(p); return err },
			"shutdown":         func() error { return s.Shutdown(vsock.ShutBoth) },
			"close":            s.Close,
			"getsockname":      func() error { _, err := s.LocalAddr(); return err },
			"getpeername":      func() error { _, err := s.RemoteAddr(); return err },
			"setsockopt":       func() error { return s.SetOption(vsock.BufferSize, 4096) },
			"getsockopt":       func() error { _, err := s.Option(vsock.BufferSize); return err },
			"SetNonblock":      func() error { return s.SetNonblock(true) },
			"SetReadDeadline":  func() error { return s.SetReadDeadline(never) },
			"SetWriteDeadline": func() error { return s.SetWriteDeadline(never) },
		} {
			r.want(do(), net.ErrClosed, state+": "+name)
		}
		if e := s.Ready(); e != vsock.PollNval {
			r.Errorf("%s: Ready is %#x, want PollNval", state, e)
		}
	}
}
