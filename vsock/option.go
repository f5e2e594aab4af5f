package vsock

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Option names a socket option. All values are 64 bits wide, as the guide demands.
type Option int

// Options of the vSockets guide and of vmci_sockets.h. The buffer sizes and the
// timeout count only until the connection is made: set them before Listen or
// Connect. Reading BufferSize of a connection gives what was negotiated.
const (
	// BufferSize is SO_VMCI_BUFFER_SIZE, the size of a connection's receive
	// buffer in bytes. Setting it clamps it between the minimum and the maximum;
	// where those cross, the maximum holds.
	BufferSize Option = iota + 1
	// BufferMinSize is SO_VMCI_BUFFER_MIN_SIZE, bytes.
	BufferMinSize
	// BufferMaxSize is SO_VMCI_BUFFER_MAX_SIZE, bytes. It also is what the window of
	// a stream may grow to on our own stack, if BufferSize is not set.
	BufferMaxSize
	// PeerHostVMID is SO_VMCI_PEER_HOST_VM_ID, read only: the host's own number of
	// the virtual machine at the other end.
	PeerHostVMID
	// Trusted is SO_VMCI_TRUSTED, read only: 1 if the peer is trusted.
	Trusted
	// ConnectTimeout is SO_VMCI_CONNECT_TIMEOUT, in nanoseconds. 0 is the default.
	ConnectTimeout
	// NonblockTxRx is SO_VMCI_NONBLOCK_TXRX, for sockets within the kernel. No
	// stack has it; see Socket.SetNonblock.
	NonblockTxRx

	// ReceiveLowWater is SO_RCVLOWAT: PollIn holds for a stream once so many bytes
	// can be read. Default 1.
	ReceiveLowWater
	// PendingError is SO_ERROR, read only: the errno of a connection that failed,
	// or of a non-blocking connect. Reading it clears it. 0: none.
	PendingError
	// Unread is SIOCINQ, read only: bytes that were received and not taken; of
	// seqpacket and datagram sockets, those of the next message.
	Unread
	// Unsent is SIOCOUTQ, read only: bytes that were sent and that the peer's
	// application has not been known to take.
	Unsent

	// ToHost is VMADDR_FLAG_TO_HOST of Linux's address: 1 makes Connect go to the
	// host whatever the CID is, so that it reaches a sibling of this virtual machine
	// (if the host forwards that), and not a guest nested in it. Default 0.
	ToHost
)

var optionNames = map[Option]string{
	BufferSize:      "SO_VMCI_BUFFER_SIZE",
	BufferMinSize:   "SO_VMCI_BUFFER_MIN_SIZE",
	BufferMaxSize:   "SO_VMCI_BUFFER_MAX_SIZE",
	PeerHostVMID:    "SO_VMCI_PEER_HOST_VM_ID",
	Trusted:         "SO_VMCI_TRUSTED",
	ConnectTimeout:  "SO_VMCI_CONNECT_TIMEOUT",
	NonblockTxRx:    "SO_VMCI_NONBLOCK_TXRX",
	ReceiveLowWater: "SO_RCVLOWAT",
	PendingError:    "SO_ERROR",
	Unread:          "SIOCINQ",
	Unsent:          "SIOCOUTQ",
	ToHost:          "VMADDR_FLAG_TO_HOST",
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
