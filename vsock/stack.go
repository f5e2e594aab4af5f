package vsock

import "fmt"

// A Stack is where sockets come from: it has one or more CIDs of its own, and
// reaches others.
type Stack interface {
	// Socket creates a socket, as socket(2). ErrNotSupported: the stack has no
	// sockets of that type.
	Socket(t Type) (Socket, error)

	// LocalCID gives the CID of the stack itself, as VMCISock_GetLocalCID.
	LocalCID() (uint32, error)
}

// Type is the type of a socket. The values are Linux's.
type Type int

// Socket types.
const (
	Stream    Type = 1 // SOCK_STREAM, a connection that carries bytes
	Datagram  Type = 2 // SOCK_DGRAM, messages without a connection
	Seqpacket Type = 5 // SOCK_SEQPACKET, a connection that carries messages
)

func (t Type) String() string {
	switch t {
	case Stream:
		return "stream"
	case Datagram:
		return "datagram"
	case Seqpacket:
		return "seqpacket"
	}
	return fmt.Sprintf("type(%d)", int(t))
}
