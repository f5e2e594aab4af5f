package vsocktest

import (
	"syscall"

	"vsockets.dev/vsock"
)

// Pair is two ends that can reach each other. The suite connects from A to B: to
// try both in both parts, run it a second time with the two exchanged.
type Pair struct {
	A, B End

	// Silent is an address that A can send to and that never answers, for what
	// happens while a connection is being made. Nil: there is none, and the suite
	// leaves those tests out.
	Silent *vsock.Addr

	// Vanish takes B away without a word, as a machine that loses power. Nil: that
	// cannot be had, and the suite leaves those tests out.
	Vanish func()
}

// End is a stack and the CID by which the other end reaches it.
type End struct {
	Stack  vsock.Stack
	CID    uint32
	Traits Traits
}

// Traits are what an end does otherwise than package vsock documents. Each is
// checked: a stack that turns out to have what its traits deny fails the suite.
// The zero value is a stack without deviations, which is what a context of package
// vswitch is.
type Traits struct {
	// NoDatagrams is the error of Socket(Datagram). Nil: datagrams are there.
	NoDatagrams error

	// NoSeqpacket is the error of connecting a seqpacket socket to the other end.
	// Nil: it connects.
	NoSeqpacket error

	// NoSeqpacketSocket is the error of Socket(Seqpacket). Nil: it makes one. An end
	// that has it has no tests of NoSeqpacket either.
	NoSeqpacketSocket error

	// BufferSize is the default of the option of that name. 0: 65536, the guide's.
	BufferSize uint64

	// NoNegotiation: the size of the buffers is each end's own affair, what the
	// other end proposes is not looked at, and is never refused.
	NoNegotiation bool

	// Relayed: a relay joins the connections with the other end, which has buffers of
	// its own, of sizes that are not told: each end negotiates with that, which
	// proposes the defaults, and more is on its way than the other end has room for.
	// Unsent is what the relay has not taken.
	Relayed bool

	// LateOptions: buffer sizes may be changed while connected. Else: EISCONN.
	LateOptions bool

	// NoUnread and NoUnsent are the errors of Option(Unread) and Option(Unsent).
	// Nil: they count.
	NoUnread, NoUnsent error

	// Unprivileged: ports below 1024 cannot be bound, EACCES.
	Unprivileged bool

	// LoopbackFromLocal: who accepts a connection from its own context sees it come
	// from CIDLocal, whatever CID the connector has for itself.
	LoopbackFromLocal bool

	// NoLocal: the stack has no loopback. Binding CIDLocal is EADDRNOTAVAIL.
	NoLocal bool

	// BacklogExtra is how many connections more than its backlog a listener takes.
	BacklogExtra int

	// ConnectAny is the error of connecting to CIDAny. Nil: EINVAL.
	ConnectAny error

	// NoBoundConnect is the error of connecting a socket that is bound. Nil: it
	// connects from the port it is bound to.
	NoBoundConnect error

	// NoPeerPort: who accepts a connection sees the connector's CID, and PortAny for
	// its port.
	NoPeerPort bool

	// NoReconnect is the error of connecting a socket again whose connection was
	// refused; Shutdown of such a one succeeds. Nil: it connects, and Shutdown is
	// ENOTCONN.
	NoReconnect error

	// ResetIsEOF: a connection that was cut short reads as io.EOF, and sending on
	// it is EPIPE. Else both are ECONNRESET.
	ResetIsEOF bool

	// OrderlyListenerClose: closing a listener closes the connections that nobody
	// accepted, so that their peers read io.EOF. Else it resets them.
	OrderlyListenerClose bool

	// UnreadResets: closing a socket with data unread resets its connection. Else the
	// peer reads io.EOF.
	UnreadResets bool

	// NoHangup: a connection that only the peer has closed polls as PollIn and
	// PollRdHup. Else as PollHup too.
	NoHangup bool

	// ShutdownForgetsPeer: RemoteAddr is ENOTCONN once Shutdown was called.
	ShutdownForgetsPeer bool

	// NoEmptyMessages is the error of sending an empty seqpacket message; one that is
	// received reads as io.EOF once the peer has shut down sending. Nil: it is sent
	// and received.
	NoEmptyMessages error

	// MessageWaits: a seqpacket message of which the peer has room for a part only
	// waits for the rest, even of a non-blocking socket. Else: EAGAIN.
	MessageWaits bool

	// NoMessagePeek is the error of MsgPeek on a seqpacket socket. Nil: it works.
	NoMessagePeek error
}

// bufferSize is the default of option BufferSize.
func (t *Traits) bufferSize() uint64 {
	if t.BufferSize != 0 {
		return t.BufferSize
	}
	return vsock.DefaultBufferSize
}

// connectAny is the error of connecting to CIDAny.
func (t *Traits) connectAny() error {
	if t.ConnectAny != nil {
		return t.ConnectAny
	}
	return syscall.EINVAL
}

// unread gives the errors of the peer, whose traits are t, when an end closes with data
// unread.
func (t *Traits) unread(closer *Traits) (recv, send error) {
	if closer.UnreadResets {
		return t.reset()
	}
	return errEOF, syscall.EPIPE
}

// reset gives the errors of receiving and sending on a connection that was cut short.
func (t *Traits) reset() (recv, send error) {
	if t.ResetIsEOF {
		return errEOF, syscall.EPIPE
	}
	return syscall.ECONNRESET, syscall.ECONNRESET
}

// types are the types of connected sockets that the end has.
func (t *Traits) types() []vsock.Type {
	if t.NoSeqpacketSocket != nil {
		return []vsock.Type{vsock.Stream}
	}
	return []vsock.Type{vsock.Stream, vsock.Seqpacket}
}

// seen is a connector's name as who accepts its connection sees it.
func (t *Traits) seen(name vsock.Addr) vsock.Addr {
	if t.NoPeerPort {
		name.Port = vsock.PortAny
	}
	return name
}
