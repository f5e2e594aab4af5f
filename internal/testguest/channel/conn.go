package channel

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Limits of a line.
const (
	// WindowToGuest is how many bytes may be on their way to the guest. The
	// guest's terminal holds 4096 and throttles, for good, 128 bytes before that;
	// the difference is room for credit frames, which are outside the window.
	WindowToGuest = 2048

	// WindowToHost is how many bytes may be on their way to the host. A pipe of
	// 16 pages keeps at least half of each page in use, so a window of half the
	// pipe, [PipeSize], cannot fill it.
	WindowToHost = PipeSize / 2

	// PipeSize is what the pipe behind the guest's line must hold. It is Linux's default.
	PipeSize = 64 << 10

	// MaxMessage is the longest message that is gathered from frames.
	MaxMessage = 1 << 20

	// maxPartial is how many messages may be gathered at the same time.
	maxPartial = 64

	// creditParts is into how many grants the receiver divides a window: a grant
	// per frame would double the number of frames, one per window would stall the sender.
	creditParts = 4
)

// Message is what Receive gives: a whole message, or a piece of a program's output.
type Message struct {
	Kind Kind
	ID   uint32
	Body []byte
}

// Conn is one end of a line. Send may be called from many goroutines, Receive from one.
//
// Receive is also what gives credit to the sending goroutines and to the peer:
// whoever stops calling it stops the line. It never waits for credit itself.
type Conn struct {
	r          *bufio.Reader
	buf        [MaxPayload]byte
	recvWindow int
	unacked    int // bytes received and not granted back yet
	partial    map[partialKey][]byte

	writeMu sync.Mutex // held for one frame; never acquired with creditMu held
	w       io.Writer
	out     []byte

	creditMu   sync.Mutex
	creditCond sync.Cond
	credit     int
	sendWindow int
	err        error
}

type partialKey struct {
	kind Kind
	id   uint32
}

// New makes a Conn. The two ends must agree on the windows: what one sends by,
// the other receives by ([WindowToGuest], [WindowToHost]).
func New(r io.Reader, w io.Writer, sendWindow, recvWindow int) *Conn {
	c := &Conn{
		r: bufio.NewReader(r), w: w,
		recvWindow: recvWindow, partial: make(map[partialKey][]byte),
		credit: sendWindow, sendWindow: sendWindow,
	}
	c.creditCond.L = &c.creditMu
	return c
}

// Send sends a message. It waits for credit, and so for the peer.
func (c *Conn) Send(kind Kind, id uint32, body []byte) error {
	if len(body) > MaxMessage && !kind.streams() {
		return fmt.Errorf("channel: message of %d bytes, at most %d", len(body), MaxMessage)
	}
	for {
		f := frame{kind: kind, id: id, payload: body[:min(len(body), MaxPayload)]}
		body = body[len(f.payload):]
		f.last = len(body) == 0
		if err := c.takeCredit(f.size()); err != nil {
			return err
		}
		if err := c.write(&f); err != nil {
			return err
		}
		if f.last {
			return nil
		}
	}
}

// SendJSON sends v, encoded, as a message.
func (c *Conn) SendJSON(kind Kind, id uint32, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("channel: encode: %w", err)
	}
	return c.Send(kind, id, body)
}

func (c *Conn) write(f *frame) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.out = f.append(c.out[:0])
	if _, err := c.w.Write(c.out); err != nil {
		return c.Fail(fmt.Errorf("channel: write: %w", err))
	}
	return nil
}

func (c *Conn) takeCredit(n int) error {
	c.creditMu.Lock()
	defer c.creditMu.Unlock()
	for c.credit < n && c.err == nil {
		c.creditCond.Wait()
	}
	if c.err != nil {
		return c.err
	}
	c.credit -= n
	return nil
}

// Fail ends the Conn for those who wait in Send, and returns the reason that
// holds: the first one given.
func (c *Conn) Fail(err error) error {
	c.creditMu.Lock()
	defer c.creditMu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.creditCond.Broadcast()
	return c.err
}

// Receive gives the next message. After an error there is nothing more to come.
// An end of the line between two frames is io.EOF.
func (c *Conn) Receive() (Message, error) {
	for {
		m, whole, err := c.receiveFrame()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("channel: receive: %w", err)
			}
			return Message{}, c.Fail(err)
		}
		if whole {
			return m, nil
		}
	}
}

func (c *Conn) receiveFrame() (m Message, whole bool, err error) {
	f, err := readFrame(c.r, &c.buf)
	if err != nil {
		return Message{}, false, err
	}
	if f.kind == kindCredit {
		return Message{}, false, c.addCredit(f.payload)
	}
	if err := c.grant(f.size()); err != nil {
		return Message{}, false, err
	}
	if f.kind.streams() {
		return Message{Kind: f.kind, ID: f.id, Body: append([]byte(nil), f.payload...)}, true, nil
	}
	return c.gather(&f)
}

// gather adds f to its message.
func (c *Conn) gather(f *frame) (Message, bool, error) {
	key := partialKey{f.kind, f.id}
	body, known := c.partial[key]
	if len(body)+len(f.payload) > MaxMessage {
		return Message{}, false, fmt.Errorf("%w: message longer than %d bytes", errFrame, MaxMessage)
	}
	body = append(body, f.payload...)
	if f.last {
		delete(c.partial, key)
		return Message{Kind: f.kind, ID: f.id, Body: body}, true, nil
	}
	if !known && len(c.partial) == maxPartial {
		return Message{}, false, fmt.Errorf("%w: more than %d messages begun", errFrame, maxPartial)
	}
	c.partial[key] = body
	return Message{}, false, nil
}

func (c *Conn) addCredit(payload []byte) error {
	if len(payload) != 4 {
		return fmt.Errorf("%w: credit of %d bytes", errFrame, len(payload))
	}
	n := binary.LittleEndian.Uint32(payload)
	c.creditMu.Lock()
	defer c.creditMu.Unlock()
	if uint64(n) > uint64(c.sendWindow-c.credit) {
		return fmt.Errorf("%w: credit of %d for %d bytes sent", errFrame, n, c.sendWindow-c.credit)
	}
	c.credit += int(n)
	c.creditCond.Broadcast()
	return nil
}

// grant notes that n bytes were taken off the line, and tells the peer once enough have come together.
func (c *Conn) grant(n int) error {
	c.unacked += n
	if c.unacked < c.recvWindow/creditParts {
		return nil
	}
	f := frame{kind: kindCredit, last: true, payload: binary.LittleEndian.AppendUint32(nil, uint32(c.unacked))}
	c.unacked = 0
	return c.write(&f)
}
