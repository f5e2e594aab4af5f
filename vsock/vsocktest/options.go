package vsocktest

import (
	"math"
	"syscall"
	"time"

	"vsockets.dev/vsock"
)

var optionTests = []test{
	{name: "defaults", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.has(s, vsock.BufferSize, r.A.Traits.bufferSize())
		r.has(s, vsock.BufferMinSize, 128)
		r.has(s, vsock.BufferMaxSize, 262144)
		r.has(s, vsock.ConnectTimeout, uint64(2*time.Second))
		r.has(s, vsock.ReceiveLowWater, 1)
		r.has(s, vsock.PendingError, 0)
	}},
	{name: "32768 reads back", run: sizeBecomes(32768, 32768)},
	{name: "at min", run: sizeBecomes(128, 128)},
	{name: "at max", run: sizeBecomes(262144, 262144)},
	{name: "below min is min", run: sizeBecomes(127, 128)},
	{name: "above max is max", run: sizeBecomes(262145, 262144)},
	{name: "0 is min", run: sizeBecomes(0, 128)},
	{name: "2^63 is max", run: sizeBecomes(1<<63, 262144)},
	{name: "2^64-1 is max", run: sizeBecomes(math.MaxUint64, 262144)},
	{name: "2^32 plus 1 keeps its 64 bits", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		for _, o := range []vsock.Option{vsock.BufferMaxSize, vsock.BufferSize, vsock.BufferMinSize} {
			r.set(s, o, 1<<32+1)
			r.has(s, o, 1<<32+1)
		}
	}},
	{name: "min lifts the size", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.BufferSize, 4096)
		r.set(s, vsock.BufferMinSize, 100_000)
		r.has(s, vsock.BufferSize, 100_000)
	}},
	{name: "max lowers the size", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.BufferMaxSize, 4096)
		r.has(s, vsock.BufferSize, 4096)
	}},
	{name: "min above max, max wins", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.BufferMaxSize, 1000)
		r.set(s, vsock.BufferMinSize, 2000)
		for _, v := range []uint64{0, 999, 1500, 2001} {
			r.set(s, vsock.BufferSize, v)
			r.has(s, vsock.BufferSize, 1000)
		}
		r.has(s, vsock.BufferMinSize, 2000)
		r.has(s, vsock.BufferMaxSize, 1000)
	}},
	{name: "min and max take any value", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		for _, v := range []uint64{0, 1, 1 << 63, math.MaxUint64} {
			r.set(s, vsock.BufferMaxSize, v)
			r.has(s, vsock.BufferMaxSize, v)
			r.set(s, vsock.BufferMinSize, v)
			r.has(s, vsock.BufferMinSize, v)
		}
	}},
	{name: "a listener's are its connections'", run: func(r *rig) {
		_, b := r.sized(vsock.Stream, 32768)
		want := uint64(32768)
		if r.relayed() && !r.B.Traits.NoNegotiation {
			want = vsock.DefaultBufferSize
		}
		r.has(b, vsock.BufferSize, want)
		r.has(b, vsock.BufferMaxSize, 262144)
	}},
	{name: "set after listen, counts from then on", run: func(r *rig) {
		l, addr := r.listener(vsock.Stream)
		r.set(l, vsock.BufferMaxSize, 4096)
		r.set(l, vsock.BufferSize, 4096)
		a := r.socket(r.A, vsock.Stream)
		r.set(a, vsock.BufferSize, 4096)
		r.connect(a, addr)
		b := r.accept(l)
		r.has(b, vsock.BufferSize, 4096)
		r.has(b, vsock.BufferMaxSize, 4096)
	}},
	{name: "only before the connection", run: lateOptions},
	{name: "the connector proposes", run: func(r *rig) { r.negotiated(sizes{32768, 0, 0}, sizes{}, 32768, r.B.Traits.bufferSize()) }},
	{name: "beyond the acceptor's max, it proposes", run: func(r *rig) {
		r.negotiated(sizes{65536, 0, 0}, sizes{4096, 0, 8192}, 4096, 4096)
	}},
	{name: "below the acceptor's min, it proposes", run: func(r *rig) {
		r.negotiated(sizes{4096, 0, 0}, sizes{32768, 16384, 0}, 32768, 32768)
	}},
	{name: "at the acceptor's max", run: func(r *rig) { r.negotiated(sizes{8192, 0, 0}, sizes{4096, 0, 8192}, 8192, 4096) }},
	{name: "below the connector's min is refused", run: func(r *rig) {
		r.disagree(sizes{65536, 65536, 0}, sizes{4096, 0, 8192})
	}},
	{name: "above the connector's max is refused", run: func(r *rig) {
		r.disagree(sizes{4096, 0, 8192}, sizes{32768, 16384, 0})
	}},
	{name: "connect timeout", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.ConnectTimeout, uint64(1500*time.Millisecond))
		r.has(s, vsock.ConnectTimeout, uint64(1500*time.Millisecond))
		r.set(s, vsock.ConnectTimeout, 0)
		r.has(s, vsock.ConnectTimeout, uint64(vsock.DefaultConnectTimeout))
	}},
	{name: "connect timeout out of range", run: func(r *rig) {
		r.want(r.socket(r.A, vsock.Stream).SetOption(vsock.ConnectTimeout, math.MaxUint64), syscall.ERANGE, "2^64-1 ns")
	}},
	{name: "receive low water 0 is 1", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		r.set(s, vsock.ReceiveLowWater, 100)
		r.has(s, vsock.ReceiveLowWater, 100)
		r.set(s, vsock.ReceiveLowWater, 0)
		r.has(s, vsock.ReceiveLowWater, 1)
	}},
	{name: "read only", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		for _, o := range []vsock.Option{vsock.PeerHostVMID, vsock.Trusted, vsock.PendingError, vsock.Unread, vsock.Unsent} {
			if err := s.SetOption(o, 1); err == nil {
				r.Errorf("setting %v succeeded", o)
			}
		}
	}},
	{name: "not supported", run: func(r *rig) {
		s := r.socket(r.A, vsock.Stream)
		for _, o := range []vsock.Option{vsock.PeerHostVMID, vsock.Trusted, vsock.NonblockTxRx, 0, 99} {
			_, err := s.Option(o)
			r.want(err, vsock.ErrNotSupported, "get "+o.String())
			r.want(err, syscall.ENOPROTOOPT, "get "+o.String())
		}
		r.want(s.SetOption(vsock.NonblockTxRx, 1), vsock.ErrNotSupported, "set")
		r.want(s.SetOption(99, 1), vsock.ErrNotSupported, "set")
	}},
}

func sizeBecomes(v, want uint64) func(*rig) {
	return func(r *rig) {
		for _, typ := range r.A.Traits.types() {
			s := r.socket(r.A, typ)
			r.set(s, vsock.BufferSize, v)
			r.has(s, vsock.BufferSize, want)
		}
	}
}

// sizes are the buffer options of an end, 0 for the defaults.
type sizes struct{ size, min, max uint64 }

func (r *rig) apply(s vsock.Socket, z sizes) {
	r.Helper()
	for _, o := range []struct {
		o vsock.Option
		v uint64
	}{{vsock.BufferMaxSize, z.max}, {vsock.BufferMinSize, z.min}, {vsock.BufferSize, z.size}} {
		if o.v != 0 {
			r.set(s, o.o, o.v)
		}
	}
}

// relayed is the size that an acceptor comes to, to which a relay proposes the default.
func (z sizes) relayed() uint64 {
	if p := vsock.DefaultBufferSize; p >= z.min && (z.max == 0 || p <= z.max) {
		return p
	}
	return z.size
}

func (r *rig) negotiates() bool { return !r.A.Traits.NoNegotiation && !r.B.Traits.NoNegotiation }

// negotiated says what size the buffers must come to have, at both ends; and at
// B's if it is left alone. Data flows all the same.
func (r *rig) negotiated(a, b sizes, want, alone uint64) {
	r.Helper()
	connector, l := r.socket(r.A, vsock.Stream), r.socket(r.B, vsock.Stream)
	r.apply(connector, a)
	r.apply(l, b)
	addr := r.listen(l, 1)
	r.connect(connector, addr)
	acceptor := r.accept(l)
	connectorHas, acceptorHas := want, want
	if !r.negotiates() {
		connectorHas = a.size
	}
	switch {
	case r.B.Traits.NoNegotiation:
		acceptorHas = alone
	case r.relayed():
		acceptorHas = b.relayed()
	}
	r.has(connector, vsock.BufferSize, connectorHas)
	r.has(acceptor, vsock.BufferSize, acceptorHas)
	r.send(connector, "to")
	r.recv(acceptor, "to")
	r.send(acceptor, "fro")
	r.recv(connector, "fro")
}

// disagree says that the connector will not have what the acceptor proposes.
func (r *rig) disagree(a, b sizes) {
	r.Helper()
	connector, l := r.socket(r.A, vsock.Stream), r.socket(r.B, vsock.Stream)
	r.apply(connector, a)
	r.apply(l, b)
	err := connector.Connect(r.Context(), r.listen(l, 1))
	if r.negotiates() {
		r.want(err, syscall.EINVAL, "connect")
	} else {
		r.ok(err, "connect")
	}
}

func lateOptions(r *rig) {
	const size = 65536
	a, b := r.sized(vsock.Stream, size)
	for _, end := range []struct {
		e End
		s vsock.Socket
	}{{r.A, a}, {r.B, b}} {
		err := end.s.SetOption(vsock.BufferSize, 32768)
		if end.e.Traits.LateOptions {
			r.ok(err, "set while connected")
			r.has(end.s, vsock.BufferSize, 32768)
			continue
		}
		r.want(err, syscall.EISCONN, "set while connected")
		r.want(end.s.SetOption(vsock.BufferMinSize, 1), syscall.EISCONN, "set while connected")
		r.want(end.s.SetOption(vsock.BufferMaxSize, 1<<20), syscall.EISCONN, "set while connected")
		r.has(end.s, vsock.BufferSize, size)
		r.has(end.s, vsock.BufferMinSize, 128)
		r.has(end.s, vsock.BufferMaxSize, 262144)
		r.set(end.s, vsock.ReceiveLowWater, 2) // this one is no matter of the peer's
	}
}
