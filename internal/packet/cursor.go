package packet

// Cursor is a place in a payload.
type Cursor struct {
	segs [][]byte
	off  int // in the first
}

// CursorAt gives the start of a payload.
func CursorAt(payload [][]byte) Cursor { return Cursor{segs: payload} }

// Write copies p to where the cursor is, as far as there is room.
func (c *Cursor) Write(p []byte) {
	for len(p) > 0 && len(c.segs) > 0 {
		n := copy(c.segs[0][c.off:], p)
		p = p[n:]
		c.advance(n)
	}
}

// CopyFrom copies n bytes from another cursor, as far as there are any.
func (c *Cursor) CopyFrom(from *Cursor, n int) {
	for n > 0 && len(from.segs) > 0 && len(c.segs) > 0 {
		src := from.segs[0][from.off:]
		k := copy(c.segs[0][c.off:], src[:min(n, len(src))])
		n -= k
		from.advance(k)
		c.advance(k)
	}
}

func (c *Cursor) advance(n int) {
	c.off += n
	for len(c.segs) > 0 && c.off == len(c.segs[0]) {
		c.segs, c.off = c.segs[1:], 0
	}
}
