package stack

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
)

var errStackClosed = errors.New("the stack was closed")

// state is where a connection stands.
//
//	connecting --RESPONSE--> established --Close--> closing --RST or 8 s--> closed
//
// RST, and SHUTDOWN of both directions, lead to closed from anywhere.
type state uint8

const (
	connecting  state = iota // REQUEST is out, no answer yet
	established              // data flows
	closing                  // closed here, SHUTDOWN of both is out; the flow stays ours until RST
	closed                   // over; what was received can still be read
)

// conn is one end of a connection, stream or seqpacket.
//
// mu guards its state. sendMu is the order of its packets: whoever holds it may
// send one. See the package comment for the rules.
type conn struct {
	st   *Stack
	flow flow
	typ  packet.Type
	out  packet.Sink // the way to the peer
	in   spin.Ring   // the way from it; nil: it cannot be polled
	opt  options     // as they were when the connection was begun

	readMu    sync.Mutex // one Recv at a time
	readSpin  spin.Wait  // readMu
	trickles  bool       // readMu: what this Recv waits for does
	writeMu   sync.Mutex // one Send at a time
	turned    int        // writeMu: bytes sent since it gave way to others
	writeSpin spin.Wait  // writeMu

	sendMu  sync.Mutex
	packet  packet.Packet // the packet being sent; sendMu
	segment [1][]byte     // its payload; sendMu
	sent    uint32        // payload bytes sent so far, wrapping (tx_cnt); written under sendMu and mu

	pending atomic.Uint32 // control packets that must go; see control.go
	blocked atomic.Bool   // the Sink refused one, and has not called Wake yet
	told    atomic.Uint32 // the fwd_cnt that the peer has heard of

	mu       sync.Mutex
	state    state
	up       bool   // it was established
	err      error  // why it is closed, for Recv and Send
	pendErr  error  // the same, until PendingError is read
	gone     bool   // Close was called: all calls fail
	abrupt   bool   // Close resets, see Socket.SetLinger
	shut     uint32 // packet.Shutdown flags of our own
	peerShut uint32 // and the peer's

	rx       buffer   // received, not read
	messages messages // the bounds in rx; seqpacket only
	parked   []byte   // the buffer of a Recv that waits; stream only
	parkedN  int      // and what has been put there
	waiting  bool     // a Recv waits for a signal instead
	little   bool     // the last Recv that waited got little
	sentThen uint32   // what had been sent by then
	received uint32   // payload bytes received so far, wrapping
	fwd      uint32   // payload bytes that the application has taken, wrapping (fwd_cnt)
	bufAlloc uint32   // our receive buffer, as negotiated
	grown    uint32   // what the peer may fill beyond that, see window.go
	widened  uint32   // fwd when that was last decided
	known    uint32   // fwd as last put into a packet, taken or not: the peer has heard of no more
	uncapped bool     // the peer was seen to send more at a time than it would take itself
	agreed   bool     // bufAlloc is not what the peer proposed, see packet.Renegotiated

	peerAlloc uint32 // the peer's receive buffer
	peerFwd   uint32 // how much of what we sent its application has taken
	starved   bool   // Send waits for credit
	asked     bool   // and the peer was asked for it
	wakes     uint   // counts Wake, to tell one that came too early
	full      bool   // the Sink refused data, and has not called Wake yet

	readSig, writeSig           signal
	readDeadline, writeDeadline deadline
	watchers                    watchers

	// requested is that connect has begun: before that, the flow is known to the stack, and
	// whoever guesses it can send an answer to nothing.
	requested bool
	timer     *time.Timer   // of connect, once its timeout has begun
	decided   chan struct{} // and closed when connecting is over

	inClosings closingEntry
}

func newConn(st *Stack, f flow, typ packet.Type, opt options) *conn {
	c := &conn{
		st: st, flow: f, typ: typ, out: st.sinkTo(f.remote.CID), in: st.pollerFor(f.remote.CID), opt: opt,
		bufAlloc: opt.bufAlloc(),
		readSig:  newSignal(), writeSig: newSignal(),
	}
	c.readDeadline.mu, c.readDeadline.sig = &c.mu, c.readSig
	c.writeDeadline.mu, c.writeDeadline.sig = &c.mu, c.writeSig
	return c
}

// readable and writable need mu. They wake who waits to receive, or to send.
func (c *conn) readable() {
	c.readSig.send()
	c.watchers.fire()
}

func (c *conn) writable() {
	c.writeSig.send()
	c.watchers.fire()
}

// die needs mu. It ends the connection: Recv gives what is left, then err, or
// io.EOF for nil.
func (c *conn) die(err error) {
	switch c.state {
	case connecting:
		c.connectDecided()
	case closing:
		c.st.closings.remove(c)
	case established, closed:
	}
	c.state, c.err, c.pendErr = closed, err, err
	c.readable()
	c.writable()
}

// dieWithReset needs mu. It ends the connection and tells the peer. The flow is
// given up when the RST has gone.
func (c *conn) dieWithReset(err error) {
	c.pending.Store(sendReset)
	c.die(err)
}

// abort ends the connection from this side, at once.
func (c *conn) abort(err error) {
	c.mu.Lock()
	if c.state != closed {
		c.dieWithReset(err)
	}
	c.mu.Unlock()
	c.flush()
}

// peerGone ends the connection without a word to the peer.
func (c *conn) peerGone() {
	c.mu.Lock()
	if c.state != closed {
		c.die(c.resetError())
	}
	c.pending.Store(0)
	c.mu.Unlock()
	c.st.remove(c)
}

// resetError needs mu. It is what a reset means: nothing where this side or the
// peer had ended the conversation already, ECONNRESET where it is cut short.
func (c *conn) resetError() error {
	if c.state == closing || c.peerShut&packet.ShutdownSend != 0 || c.shut == packet.ShutdownBoth {
		return nil
	}
	return syscall.ECONNRESET
}

// close is the application's: it ends both directions in good order.
func (c *conn) close() error {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.gone = true
	c.rx.discard()
	c.messages = messages{}
	c.narrow()
	c.readDeadline.stop()
	c.writeDeadline.stop()
	c.readable()
	c.writable()
	switch c.state {
	case connecting:
		c.dieWithReset(net.ErrClosed)
	case established:
		if c.abrupt {
			c.dieWithReset(net.ErrClosed)
			break
		}
		c.state, c.shut = closing, packet.ShutdownBoth
		c.pending.Or(sendShutdown)
		c.st.closings.add(c)
	case closing, closed:
	}
	c.mu.Unlock()
	c.flush()
	return nil
}

func (c *conn) closeExpired() {
	c.mu.Lock()
	if c.state == closing {
		c.dieWithReset(nil)
	}
	c.mu.Unlock()
	c.flush()
}

// shutdown ends directions for good: flags of packet.Shutdown.
func (c *conn) shutdown(flags uint32) error {
	c.mu.Lock()
	switch {
	case c.gone:
		c.mu.Unlock()
		return net.ErrClosed
	case c.state == connecting, c.state == closed && c.err != nil:
		c.mu.Unlock()
		return syscall.ENOTCONN
	}
	if c.shut|flags != c.shut {
		c.shut |= flags
		if c.state == established {
			c.pending.Or(sendShutdown)
		}
		c.readable()
		c.writable()
	}
	c.mu.Unlock()
	c.flush()
	return nil
}

// readError needs mu. It is why Recv cannot wait for more, nil if it can.
func (c *conn) readError() error {
	switch {
	case c.shut&packet.ShutdownReceive != 0, c.peerShut&packet.ShutdownSend != 0:
		return io.EOF
	case c.state == connecting:
		return syscall.ENOTCONN
	case c.state == closed && c.err != nil:
		return c.err
	case c.state == closed:
		return io.EOF
	}
	return nil
}

// writeError needs mu. It is why Send cannot go on, nil if it can.
func (c *conn) writeError() error {
	switch {
	case c.state == connecting:
		return syscall.ENOTCONN
	case c.state == closed && c.err != nil:
		return c.err
	case c.state == closed, c.shut&packet.ShutdownSend != 0, c.peerShut&packet.ShutdownReceive != 0:
		return syscall.EPIPE
	}
	return nil
}

func (c *conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline.set(t)
}

func (c *conn) setWriteDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeDeadline.set(t)
}
