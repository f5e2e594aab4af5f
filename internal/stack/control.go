package stack

import (
	"vsockets.dev/internal/packet"
)

// Control packets are not queued. A connection keeps a bit for each that it has
// to send, and makes the packet when there is room for it, with the counters of
// that moment: so they take no memory, however many there are to send.
const (
	sendRequest uint32 = 1 << iota
	sendResponse
	sendCreditUpdate
	sendCreditRequest
	sendShutdown
	sendReset
)

// controls are the packets in the order they go. A reset comes alone.
var controls = [...]struct {
	bit uint32
	op  packet.Op
}{
	{sendReset, packet.OpReset},
	{sendRequest, packet.OpRequest},
	{sendResponse, packet.OpResponse},
	{sendCreditUpdate, packet.OpCreditUpdate},
	{sendCreditRequest, packet.OpCreditRequest},
	{sendShutdown, packet.OpShutdown},
}

// flush sends the control packets that are due. If another goroutine is sending,
// that one does it: whoever sets a bit calls flush after, and whoever gives up
// sendMu does too, so one of the two sees the bit.
//
// It needs no lock, and must be called without mu.
func (c *conn) flush() {
	for c.pending.Load() != 0 && !c.blocked.Load() && c.sendMu.TryLock() {
		c.sendControls()
		c.sendMu.Unlock()
	}
}

// Wake is called by a Sink that has room again.
func (c *conn) Wake() {
	c.blocked.Store(false)
	c.mu.Lock()
	c.wakes++
	c.full = false
	c.writable()
	c.mu.Unlock()
	c.flush()
}

// sendControls needs sendMu. It sends what is pending, and says whether all of
// it went.
func (c *conn) sendControls() bool {
	for _, k := range controls {
		if c.pending.Load()&k.bit == 0 {
			continue
		}
		c.pending.And(^k.bit) // before the packet is made: a bit set from here on means another packet
		if !c.sendControl(k.op) {
			c.pending.Or(k.bit)
			return false
		}
		if k.op == packet.OpReset {
			c.pending.Store(0)
			c.st.remove(c)
			return true
		}
	}
	return true
}

func (c *conn) sendControl(op packet.Op) bool {
	c.mu.Lock()
	c.header(op)
	switch {
	case op == packet.OpShutdown:
		c.packet.Flags = c.shut
	case op == packet.OpResponse && c.agreed:
		c.packet.Flags = packet.Renegotiated
	}
	c.mu.Unlock()
	c.blocked.Store(true) // before the Sink may call Wake
	if _, ok := c.out.Take(&c.packet, c); !ok {
		return false
	}
	c.blocked.Store(false)
	c.hasTold()
	return true
}

// header needs sendMu and mu. It begins a packet.
func (c *conn) header(op packet.Op) {
	h := &c.packet.Header
	h.SrcCID, h.SrcPort = uint64(c.flow.local.CID), c.flow.local.Port
	h.DstCID, h.DstPort = uint64(c.flow.remote.CID), c.flow.remote.Port
	h.Type, h.Op, h.Len, h.Flags = c.typ, op, 0, 0
	h.BufAlloc, h.FwdCnt = c.window(), c.fwd
	c.known = c.fwd
	c.packet.Payload = nil
}

// hasTold needs sendMu. The packet has gone, and with it how much was taken.
func (c *conn) hasTold() {
	if now := c.packet.FwdCnt; c.told.Load() != now { // a store costs as much as a lock
		c.told.Store(now)
	}
}
