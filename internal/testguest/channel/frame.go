// Package channel is the control line between a test on the host and the agent
// inside the guest that it booted.
//
// The line is a raw serial port, never vsock: vsock is what is under test. A
// serial port of User Mode Linux carries all 256 byte values, but it is not
// reliable under load. Once the host is slow to read, the guest's write fails
// with EIO and bytes are lost; once the guest is slow to read, its terminal
// layer throttles the line and never wakes up again. Both were measured on UML
// 6.1. So neither side may ever have more bytes under way than the line's own
// buffers hold: each direction has a window, and the receiver gives credit back
// as it takes frames off the line (see [Conn]).
//
// On top of that there are frames with an id, so that many commands and calls
// share the line, and messages, which may span several frames.
package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxPayload is the most payload bytes of one frame. It is small so that one
// frame always fits into the smaller window, [WindowToGuest].
const MaxPayload = 1024

// frameHeaderSize is kind (1 byte), flags (1), payload length (2), id (4), little-endian.
const frameHeaderSize = 8

// flagLast marks the frame that ends its message.
const flagLast = 1

// Kind says what a message is.
type Kind uint8

// Kinds of messages. Those to the guest first, then those to the host.
const (
	KindRun      Kind = 1 // start a program: body is Command
	KindCall     Kind = 2 // call a registered function: body is Call
	KindCancel   Kind = 3 // end the program or call with this id; empty
	KindPowerOff Kind = 4 // orderly end; empty
	KindExplain  Kind = 5 // say what hangs: SIGQUIT for each program, KindStacks of the agent; empty

	KindHello  Kind = 16 // first message of the guest: body is Hello
	KindStdout Kind = 17 // a piece of a program's output, as it comes
	KindStderr Kind = 18 // likewise
	KindResult Kind = 19 // the end of a program or call: body is Result
	KindStacks Kind = 20 // where the agent's goroutines are, the answer to KindExplain: text

	kindCredit Kind = 255 // flow control, never seen above Conn: body is a u32, bytes taken off the line
)

func (k Kind) valid() bool {
	switch k {
	case KindRun, KindCall, KindCancel, KindPowerOff, KindExplain,
		KindHello, KindStdout, KindStderr, KindResult, KindStacks, kindCredit:
		return true
	}
	return false
}

// streams reports whether each frame of this kind is handed up as it comes,
// instead of being gathered into a whole message.
func (k Kind) streams() bool { return k == KindStdout || k == KindStderr }

// errFrame is wrapped by every error about bytes that are no frame. There is no
// way to find the next frame after it: the line is unusable.
var errFrame = errors.New("malformed frame")

type frame struct {
	kind    Kind
	last    bool
	id      uint32
	payload []byte
}

func (f *frame) size() int { return frameHeaderSize + len(f.payload) }

func (f *frame) append(b []byte) []byte {
	var flags byte
	if f.last {
		flags = flagLast
	}
	b = append(b, byte(f.kind), flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(f.payload)))
	b = binary.LittleEndian.AppendUint32(b, f.id)
	return append(b, f.payload...)
}

// readFrame reads one frame. The payload is valid until buf is used again.
// io.EOF means that the line ended between frames.
func readFrame(r io.Reader, buf *[MaxPayload]byte) (frame, error) {
	var h [frameHeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: Kind(h[0]), last: h[1] == flagLast, id: binary.LittleEndian.Uint32(h[4:])}
	n := int(binary.LittleEndian.Uint16(h[2:]))
	switch {
	case !f.kind.valid():
		return frame{}, fmt.Errorf("%w: unknown kind %d", errFrame, h[0])
	case h[1]&^flagLast != 0:
		return frame{}, fmt.Errorf("%w: unknown flags %#x", errFrame, h[1])
	case n > MaxPayload:
		return frame{}, fmt.Errorf("%w: payload of %d bytes, at most %d", errFrame, n, MaxPayload)
	}
	f.payload = buf[:n]
	if _, err := io.ReadFull(r, f.payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return f, nil
}
