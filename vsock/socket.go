package vsock

import (
	"context"
	"io"
	"time"
)

// A Socket has the Berkeley calls, by the names of the vSockets guide: each is the
// guide's section of that name, and docs/GUIDE.md tells them stack by stack. Every
// stack implements it; Conn, Listener, Dialer and ListenConfig are written on it
// once. Its errors are bare: a syscall.Errno, net.ErrClosed after Close, or
// os.ErrDeadlineExceeded.
//
// A call waits until it is done, or the deadline passes. After SetNonblock, or
// with MsgDontWait, it returns EAGAIN in place of waiting. Calls may come from any
// goroutine. Close ends calls that wait.
type Socket interface {
	// Type is what the socket was created as.
	Type() Type

	// Bind gives the socket a local address. CIDAny stands for the stack's own
	// CID, PortAny for a free ephemeral port. EADDRINUSE: the port is taken.
	// EADDRNOTAVAIL: the CID is not this stack's. EACCES: a port below 1024
	// without the right to it. EINVAL: already bound.
	Bind(a Addr) error

	// Listen makes a bound socket accept connections. At most backlog of them
	// wait for Accept; a further one is refused. EINVAL: not bound, or connected.
	// EOPNOTSUPP: a datagram socket.
	Listen(backlog int) error

	// Accept waits for the next connection, at most until the read deadline.
	// EINVAL: not listening. EOPNOTSUPP: a datagram socket.
	Accept() (Socket, Addr, error)

	// Connect opens a connection, and binds the socket first where it is not.
	// It fails with ECONNRESET where nobody listens or the peer refuses,
	// ETIMEDOUT after the connect timeout, EISCONN if connected, or with the
	// context's error. A non-blocking socket gives EINPROGRESS, and is writable
	// when the connection is made or has failed; then PendingError tells which,
	// and so does another Connect.
	//
	// A datagram socket is connected at once: Send goes to a, and only what comes
	// from a is received. Connecting it to CIDAny and PortAny undoes that.
	Connect(ctx context.Context, a Addr) error

	// Recv waits for data and takes up to len(p) bytes of it, or with MsgPeek
	// looks at them. It returns io.EOF once the peer has shut down its sending
	// side and all data is taken.
	//
	// Of seqpacket and datagram sockets it takes one message. What of it does not
	// fit p is lost, and got has MsgTrunc; with MsgTrunc in flags, n is the length
	// of the whole message all the same. got has MsgEOR if the sender gave it. A
	// message may be empty: then n is 0 and err is nil.
	Recv(p []byte, flags Flags) (n int, got Flags, err error)

	// RecvFrom is Recv, and tells the sender of a datagram.
	RecvFrom(p []byte, flags Flags) (n int, got Flags, from Addr, err error)

	// Send sends all of p, waiting for credit as often as it must. With an error
	// it tells how many bytes had gone. EPIPE: this side has shut down sending, or
	// the peer receiving. ENOTCONN: not connected.
	//
	// Of seqpacket and datagram sockets p is one message, and goes whole or not
	// at all. EMSGSIZE: it is larger than the peer's buffer, or MaxDatagram.
	Send(p []byte, flags Flags) (n int, err error)

	// SendTo sends a datagram. A datagram to a receiver that is not there, or
	// that has no room for it, is lost. EISCONN: a stream or seqpacket socket.
	SendTo(p []byte, flags Flags, to Addr) (n int, err error)

	// Read and Write are Recv and Send without flags.
	io.ReadWriter

	// Shutdown ends one or both directions for good. ENOTCONN: not connected.
	Shutdown(how How) error

	// Close releases the socket and ends its connection in good order.
	Close() error

	// LocalAddr is getsockname: real CID and port once bound.
	LocalAddr() (Addr, error)

	// RemoteAddr is getpeername. ENOTCONN: not connected.
	RemoteAddr() (Addr, error)

	// SetReadDeadline limits Accept and Recv, SetWriteDeadline limits Send, from
	// now on and also where they wait already. The zero time is no limit.
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error

	// SetNonblock makes calls return EAGAIN in place of waiting, or wait again.
	SetNonblock(on bool) error

	// SetOption and Option are setsockopt and getsockopt.
	SetOption(o Option, v uint64) error
	Option(o Option) (uint64, error)

	// Ready tells which events hold now. A closed socket has PollNval alone.
	Ready() Events

	// Watch calls notify, once and from any goroutine, when one of the events
	// comes to hold, or PollErr, PollHup or PollNval; it may call it too early.
	// Stop ends that, and returns when notify will not be called any more.
	// Poll and Select are built on it.
	Watch(want Events, notify func()) (stop func())
}

// How says which directions Shutdown ends.
type How int

// Directions, to be combined with |.
const (
	ShutRead  How = 1                    // SHUT_RD
	ShutWrite How = 2                    // SHUT_WR
	ShutBoth  How = ShutRead | ShutWrite // SHUT_RDWR
)

// Flags of Recv and Send. The values are Linux's.
type Flags int

// Flags, to be combined with |.
const (
	MsgPeek     Flags = 0x02 // Recv: leave the data where it is
	MsgTrunc    Flags = 0x20 // Recv: tell the length of the whole message; in got: it was cut
	MsgDontWait Flags = 0x40 // do not wait, return EAGAIN
	MsgEOR      Flags = 0x80 // seqpacket: this message ends a record
)

// MaxDatagram is the size of the largest datagram in bytes.
const MaxDatagram = 64 << 10
