package guestpeer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"vsockets.dev/internal/transfer"
	"vsockets.dev/vsock"
)

// CmdSocket makes one call on one socket: SocketCall -> SocketResult.
const CmdSocket = "vsock.socket"

// SocketCall is a call of vsock.Socket, or of vsock.Stack where Socket is 0. The
// fields beyond Method are its arguments.
type SocketCall struct {
	Socket uint64
	Method string

	Addr    vsock.Addr    `json:",omitzero"`
	Data    []byte        `json:",omitempty"`
	N       int           `json:",omitempty"` // backlog, length of a buffer, how, type, events
	Flags   vsock.Flags   `json:",omitempty"`
	On      bool          `json:",omitempty"`
	Option  vsock.Option  `json:",omitempty"`
	Value   uint64        `json:",omitempty"`
	Timeout time.Duration `json:",omitempty"` // of a deadline: the two ends may have other clocks
}

// SocketResult is what the call gives.
type SocketResult struct {
	Socket uint64      `json:",omitempty"` // of Socket and Accept
	Addr   vsock.Addr  `json:",omitzero"`
	Data   []byte      `json:",omitempty"`
	N      int         `json:",omitempty"`
	Flags  vsock.Flags `json:",omitempty"`
	Value  uint64      `json:",omitempty"`
	Err    *WireError  `json:",omitempty"`
}

// noDeadline is the Timeout of no deadline.
const noDeadline time.Duration = -1 << 63

// WireError is an error of a socket on its way to the other side: it matches there
// what it matched here.
type WireError struct {
	Text  string
	Errno syscall.Errno `json:",omitempty"`
	Name  string        `json:",omitempty"` // of sentinels
}

// sentinels are the errors without an errno that cross.
var sentinels = map[string]error{
	"EOF":              io.EOF,
	"closed":           net.ErrClosed,
	"deadline":         os.ErrDeadlineExceeded,
	"not supported":    vsock.ErrNotSupported,
	"context canceled": context.Canceled,
	"context deadline": context.DeadlineExceeded,
	"corrupt":          transfer.ErrCorrupt,
	"cut":              transfer.ErrCut,
}

// ToWire makes an error ready to cross, nil of nil.
func ToWire(err error) *WireError {
	if err == nil {
		return nil
	}
	w := &WireError{Text: err.Error()}
	for name, s := range sentinels {
		if errors.Is(err, s) {
			w.Name = name
			return w
		}
	}
	errors.As(err, &w.Errno)
	return w
}

// fromWire gives the error itself, where it was nothing more than that.
func fromWire(w *WireError) error {
	switch {
	case w == nil:
		return nil
	case sentinels[w.Name] != nil:
		return sentinels[w.Name]
	case w.Errno != 0:
		return w.Errno
	}
	return fmt.Errorf("guestpeer: %s", w.Text)
}
