package stack

import "vsockets.dev/internal/packet"

// This file is about the window of a connection: how much its peer may have sent that
// has not been read here. It is the negotiated size of the buffer, and more where
// nobody chose that size: a stream whose reader keeps up is given a larger one, as TCP
// does it, since a window is what bounds how much moves for each time that the other
// end has to be waited for. BufferSize tells the negotiated size all the same.

// growBudget is how much all windows of a stack may have grown by together, in bytes:
// what peers can fill in addition to what was negotiated.
const growBudget = 8 << 20

// window needs mu.
func (c *conn) window() uint32 { return c.bufAlloc + c.grown }

// widen needs mu. It is called when the application has taken data. One that has left
// nothing of two windows keeps up, and what it waits for is the peer.
func (c *conn) widen() {
	w := c.window()
	if c.rx.len() > 0 || c.fwd-c.widened < 2*w || !c.elastic() {
		return
	}
	c.widened = c.fwd
	if more := min(w, uint32(min(c.opt.max, maxBuffer))-w); c.st.grow(more) {
		c.grown += more
	}
}

// elastic needs mu. It says whether the window may grow.
func (c *conn) elastic() bool {
	return c.state == established && c.typ == packet.TypeStream && !c.opt.chosen && uint64(c.bufAlloc) == c.opt.size
}

// grow takes of the budget, and says whether there is as much.
func (st *Stack) grow(n uint32) bool {
	if st.grown.Add(int64(n)) <= growBudget {
		return true
	}
	st.grown.Add(-int64(n))
	return false
}

// narrow needs mu. It gives back what the window grew by, when the application is done
// with the connection: nothing is kept any more. The window stays, since the peer may
// have used it.
func (c *conn) narrow() { c.st.grown.Add(-int64(c.grown)) }
