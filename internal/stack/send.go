package stack

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// free needs mu. It is how many bytes the peer has room for, virtio 1.3 section
// 5.10.6.3. The counters wrap; a peer whose numbers make no sense has no room.
func (c *conn) free() uint32 {
	inFlight := c.sent - c.peerFwd
	if inFlight >= c.peerAlloc {
		return 0
	}
	return c.peerAlloc - inFlight
}

// send is the application's Send.
func (c *conn) send(p []byte, flags vsock.Flags) (int, error) {
	if !lockOr(&c.writeMu, flags) {
		return 0, syscall.EAGAIN
	}
	n, err := c.sendAll(p, flags)
	c.writeMu.Unlock()
	return n, err
}

// sendAll needs writeMu.
func (c *conn) sendAll(p []byte, flags vsock.Flags) (int, error) {
	var m outgoing
	m.p, m.whole, m.eor = p, c.typ == packet.TypeSeqpacket, flags&vsock.MsgEOR != 0
	for {
		before := m.done
		wait, err := c.trySend(&m)
		c.giveWay(m.done - before)
		switch {
		case err != nil:
			return c.sendFailed(&m, err)
		case m.finished:
			return m.done, nil
		case wait && flags&vsock.MsgDontWait != 0 && (m.done == 0 || !m.whole):
			c.askForCredit()
			if m.done > 0 {
				return m.done, nil
			}
			return 0, syscall.EAGAIN
		case wait && !look(&c.writeSpin, c.writeSig.sent, c.in, false):
			c.askForCredit()
			c.writeDeadline.sleep()
		}
	}
}

// turn is how much a connection sends, in bytes, before others have their turn.
const turn = 64 << 10

// giveWay is called with writeMu held, after n bytes were sent. Where many send, and
// none of them has to wait, Go lets each run for 10 ms, and looks for what has arrived,
// such as credit and resets, when dozens of them have. So one of many gives way.
func (c *conn) giveWay(n int) {
	if c.turned += n; c.turned < turn {
		return
	}
	c.turned = 0
	if c.st.crowded() {
		runtime.Gosched()
	}
}

// outgoing is what one Send has to send.
type outgoing struct {
	p        []byte
	done     int  // bytes that have gone
	finished bool // all of them
	whole    bool // it is a message: all or nothing
	eor      bool
}

// sendFailed ends a Send. Half a message cannot be taken back, so a connection
// that would be left with one ends.
func (c *conn) sendFailed(m *outgoing, err error) (int, error) {
	if !m.whole || m.done == 0 {
		return m.done, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.abort(syscall.ECONNRESET)
	}
	return 0, err
}

// trySend sends one packet, as much as credit and the way allow, and says whether
// the next one must wait for the signal.
func (c *conn) trySend(m *outgoing) (wait bool, err error) {
	c.sendMu.Lock()
	wait, err = c.sendData(m)
	c.sendMu.Unlock()
	c.flush()
	return wait, err
}

// sendData needs sendMu. What is pending goes before the data: a RESPONSE must.
func (c *conn) sendData(m *outgoing) (wait bool, err error) {
	if c.pending.Load() != 0 && !c.sendControls() {
		return true, c.sendError()
	}
	c.mu.Lock()
	n, wakes, err := c.reserve(m)
	c.mu.Unlock()
	if err != nil || m.finished {
		return false, err
	}
	if n == 0 && len(m.p) > 0 {
		return true, nil
	}
	if c.segment[0] = m.p[m.done:][:n]; n > 0 {
		c.packet.Payload = c.segment[:]
	}
	taken, ok := c.out.Take(&c.packet, c)
	c.segment[0] = nil
	if ok {
		taken = n
	} else {
		c.notTaken(n-taken, wakes)
	}
	m.done += taken
	m.finished = ok && m.done == len(m.p)
	if ok || taken > 0 {
		c.hasTold()
	}
	return !ok, nil
}

// notTaken gives back the credit of what the Sink refused.
func (c *conn) notTaken(n int, wakes uint) {
	c.mu.Lock()
	c.sent -= uint32(n)
	c.full = c.wakes == wakes // else it has called Wake already
	c.mu.Unlock()
}

// reserve needs sendMu and mu. It takes credit for one packet, and makes its header. A
// message waits until there is credit for all of it, so that it goes without a stop.
func (c *conn) reserve(m *outgoing) (n int, wakes uint, err error) {
	rest := len(m.p) - m.done
	switch err := c.cannotSend(); {
	case err != nil:
		return 0, 0, err
	case m.whole && uint64(len(m.p)) > uint64(c.peerAlloc) && m.done == 0:
		return 0, 0, syscall.EMSGSIZE
	case rest == 0 && !m.whole:
		m.finished = true
		return 0, 0, nil
	}
	free := int(min(c.free(), maxBuffer))
	if n = min(rest, free, packet.MaxPayload); n == 0 && rest > 0 || m.whole && m.done == 0 && free < rest {
		c.starved = true
		return 0, 0, nil
	}
	c.header(packet.OpRW)
	c.packet.Len = uint32(n)
	if m.whole && n == rest {
		c.packet.Flags = packet.EndOfMessage
		if m.eor {
			c.packet.Flags |= packet.EndOfRecord
		}
	}
	c.sent += uint32(n)
	return n, c.wakes, nil
}

// askForCredit asks the peer for its counters, once, if Send waits for credit. It is called by
// who does not go on looking for them: a peer tells them by itself, as a rule, when it has read
// half of what it has room for, and to answer takes its time.
func (c *conn) askForCredit() {
	c.mu.Lock()
	if c.starved && !c.asked {
		c.asked = true
		c.pending.Or(sendCreditRequest)
	}
	c.mu.Unlock()
	c.flush()
}

func (c *conn) sendError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cannotSend()
}

// cannotSend needs mu.
func (c *conn) cannotSend() error {
	switch {
	case c.gone:
		return net.ErrClosed
	case c.writeDeadline.over():
		return os.ErrDeadlineExceeded
	}
	return c.writeError()
}
