package vsock

import "fmt"

// A Stack is where sockets come from: it has one or more CIDs of its own, and
// reaches others.
type Stack interface {
	// Socket creates a socket, as socket(2).
	Socket(t Type) (Socket, error)

	// LocalCID gives the CID of the stack itself, as VMCISock_GetLocalCID.
	LocalCID() (uint32, error)
}

// Type is the type of a socket.
type Type int

// Socket types.
const (
	Stream Type = 1 // SOCK_STREAM, a connection that carries bytes
)

func (t Type) String() string {
	if t == Stream {
		return "stream"
	}
	return fmt.Sprintf("type(%d)", int(t))
}
