package hybrid

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"

	"vsockets.dev/vsock"
)

// DefaultGuestCID is the CID that a guest has for a Stack that was told nothing
// else. It is what the examples of both virtual machine monitors use.
const DefaultGuestCID uint32 = 3

// StackConfig is what a Stack can be told. The zero value is ready to use.
type StackConfig struct {
	// GuestCID is the guest's CID. The protocol does not tell it, and does not
	// need it: it is the name by which the guest is connected to, and that its
	// connections have. Default: DefaultGuestCID.
	GuestCID uint32
}

// Stack is the host's side of one virtual machine of Firecracker, Cloud Hypervisor
// or a [Server]: a vsock.Stack with CID 2, from which the guest can be reached, and
// nothing else. It has stream sockets only, and works on Linux.
//
// What its sockets do otherwise than others, since the protocol leaves no other way:
//
//   - A connection comes from the port that the server gives it. So a socket that is
//     bound does not connect: vsock.ErrNotSupported.
//   - Listening on a port makes the Unix socket PATH_<port>, which only this user may
//     connect to. It fails with EADDRINUSE where another process serves that, and
//     with what speaks for itself where PATH's folder is not a safe place.
//   - Who accepts a connection sees the guest's CID, but PortAny for the guest's port.
//   - The options for the size of buffers are kept, and are not negotiated.
//   - A connection that the guest resets ends as one that it closes, unless the system
//     knows better: an end of file is no proof that a transfer is complete.
//   - vsock.Unsent is not supported: nobody tells what the guest has taken.
type Stack struct {
	path  string
	guest uint32

	mu      sync.Mutex
	closed  bool
	used    map[uint32]bool // ports that sockets are bound to
	next    uint32          // where the search for an ephemeral port begins
	sockets map[io.Closer]struct{}
}

var _ vsock.Stack = (*Stack)(nil)

// NewStack makes a stack for the virtual machine whose Unix socket is path. Nothing
// is opened yet: the virtual machine may be started later, and again.
func NewStack(path string, c StackConfig) *Stack {
	if c.GuestCID == 0 {
		c.GuestCID = DefaultGuestCID
	}
	return &Stack{
		path:    path,
		guest:   c.GuestCID,
		used:    make(map[uint32]bool),
		next:    vsock.FirstUnprivilegedPort + rand.Uint32N(1<<31),
		sockets: make(map[io.Closer]struct{}),
	}
}

// LocalCID is vsock.CIDHost.
func (st *Stack) LocalCID() (uint32, error) { return vsock.CIDHost, nil }

// GuestCID is the CID that the guest has here.
func (st *Stack) GuestCID() uint32 { return st.guest }

// Socket creates a stream socket. Others are vsock.ErrNotSupported.
func (st *Stack) Socket(t vsock.Type) (vsock.Socket, error) {
	if t != vsock.Stream {
		return nil, vsock.ErrNotSupported
	}
	return st.newSocket()
}

// Close closes all sockets of the stack.
func (st *Stack) Close() error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return net.ErrClosed
	}
	st.closed = true
	sockets := st.sockets
	st.sockets = nil
	st.mu.Unlock()
	for s := range sockets {
		_ = s.Close() // another goroutine may have
	}
	return nil
}

// enter makes a socket one of the stack's, and leave takes it out.
func (st *Stack) enter(s io.Closer) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return net.ErrClosed
	}
	st.sockets[s] = struct{}{}
	return nil
}

func (st *Stack) leave(s io.Closer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.sockets, s)
}

// bind takes a port for a socket: an ephemeral one for PortAny.
func (st *Stack) bind(port uint32) (uint32, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if port == vsock.PortAny {
		port = st.ephemeral()
	}
	if st.used[port] {
		return 0, syscall.EADDRINUSE
	}
	st.used[port] = true
	return port, nil
}

func (st *Stack) unbind(port uint32) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.used, port)
}

// ephemeral finds a port that no socket of the stack has, nor, it seems, another
// process. There are more of them than there can be sockets.
func (st *Stack) ephemeral() uint32 {
	for {
		n := st.next
		if st.next++; st.next == vsock.PortAny {
			st.next = vsock.FirstUnprivilegedPort
		}
		if st.used[n] {
			continue
		}
		if _, err := os.Lstat(hostPath(st.path, n)); err != nil {
			return n
		}
	}
}

// errno is the number of an error, as SO_ERROR gives it.
func errno(err error) uint64 {
	var n syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &n):
		return uint64(n)
	case errors.Is(err, context.DeadlineExceeded):
		return uint64(syscall.ETIMEDOUT)
	}
	return uint64(syscall.ECONNABORTED)
}
