package vsock

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Option names a socket option. All values are 64 bits wide, as the guide demands.
type Option int

// Socket options. They count only until the connection is made: set them before
// Listen or Connect.
const (
	// BufferSize is SO_VMCI_BUFFER_SIZE, the size of a connection's receive
	// buffer in bytes. Setting it clamps it between the minimum and the maximum.
	BufferSize Option = iota + 1
	// BufferMinSize is SO_VMCI_BUFFER_MIN_SIZE, bytes.
	BufferMinSize
	// BufferMaxSize is SO_VMCI_BUFFER_MAX_SIZE, bytes.
	BufferMaxSize
	// ConnectTimeout is SO_VMCI_CONNECT_TIMEOUT, in nanoseconds.
	ConnectTimeout
)

var optionNames = map[Option]string{
	BufferSize:     "SO_VMCI_BUFFER_SIZE",
	BufferMinSize:  "SO_VMCI_BUFFER_MIN_SIZE",
	BufferMaxSize:  "SO_VMCI_BUFFER_MAX_SIZE",
	ConnectTimeout: "SO_VMCI_CONNECT_TIMEOUT",
}

func (o Option) String() string {
	if s, ok := optionNames[o]; ok {
		return s
	}
	return fmt.Sprintf("option(%d)", int(o))
}

// Defaults of the options. Source: the vSockets guide, "Set and Get Socket
// Options"; the timeout is Linux's VSOCK_DEFAULT_CONNECT_TIMEOUT.
const (
	DefaultBufferSize     uint64 = 65536
	DefaultBufferMinSize  uint64 = 128
	DefaultBufferMaxSize  uint64 = 262144
	DefaultConnectTimeout        = 2 * time.Second
)

// DefaultBacklog is the number of connections that wait for Accept where
// ListenConfig says nothing else.
const DefaultBacklog = 128

// ErrNotSupported is what a stack says to a call or option it does not have.
// It also matches syscall.ENOPROTOOPT and errors.ErrUnsupported.
var ErrNotSupported error = notSupportedError{}

type notSupportedError struct{}

func (notSupportedError) Error() string { return "not supported by this stack" }

func (notSupportedError) Is(target error) bool {
	return target == errors.ErrUnsupported || target == error(syscall.ENOPROTOOPT)
}
