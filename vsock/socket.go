package vsock

import (
	"context"
	"time"
)

// A Socket has the Berkeley calls, by the names of the vSockets guide. Every
// stack implements it; Conn, Listener, Dialer and ListenConfig are written on it
// once. Its errors are bare: a syscall.Errno, net.ErrClosed after Close, or
// os.ErrDeadlineExceeded.
//
// Calls may come from any goroutine. Close ends calls that wait.
type Socket interface {
	// Bind gives the socket a local address. CIDAny stands for the stack's own
	// CID, PortAny for a free ephemeral port. EADDRINUSE: the port is taken.
	// EADDRNOTAVAIL: the CID is not this stack's. EACCES: a port below 1024
	// without the right to it. EINVAL: already bound.
	Bind(a Addr) error

	// Listen makes a bound socket accept connections. At most backlog of them
	// wait for Accept; a further one is refused. EINVAL: not bound, or connected.
	Listen(backlog int) error

	// Accept waits for the next connection, at most until the read deadline.
	Accept() (Socket, Addr, error)

	// Connect opens a connection, and binds the socket first where it is not.
	// It fails with ECONNRESET where nobody listens or the peer refuses,
	// ETIMEDOUT after the connect timeout, EISCONN if connected, or with the
	// context's error.
	Connect(ctx context.Context, a Addr) error

	// Recv waits for data and takes up to len(p) bytes of it. It returns io.EOF
	// once the peer has shut down its sending side and all data is taken.
	Recv(p []byte) (int, error)

	// Send queues all of p, waiting for credit as often as it must.
	// With an error it tells how many bytes had gone. EPIPE: this side has shut
	// down sending, or the peer receiving.
	Send(p []byte) (int, error)

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

	// SetOption and Option are setsockopt and getsockopt.
	SetOption(o Option, v uint64) error
	Option(o Option) (uint64, error)
}

// How says which directions Shutdown ends.
type How int

// Directions, to be combined with |.
const (
	ShutRead  How = 1                    // SHUT_RD
	ShutWrite How = 2                    // SHUT_WR
	ShutBoth  How = ShutRead | ShutWrite // SHUT_RDWR
)
