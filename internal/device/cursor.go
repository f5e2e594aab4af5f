package device

import "vsockets.dev/internal/bulk"

// cursor is a place in a payload.
type cursor struct {
	segs [][]byte
	off  int // in the first
}

// cursorAt gives the start of a payload.
func cursorAt(payload [][]byte) cursor { return cursor{segs: payload} }

// write copies p to where the cursor is, as far as there is room.
func (c *cursor) write(p []byte) {
	for len(p) > 0 && len(c.segs) > 0 {
		n := copy(c.segs[0][c.off:], p)
		p = p[n:]
		c.advance(n)
	}
}

// copyFrom copies n bytes from another cursor, as far as there are any.
func (c *cursor) copyFrom(from *cursor, n int) {
	for n > 0 && len(from.segs) > 0 && len(c.segs) > 0 {
		src := from.segs[0][from.off:]
		k := bulk.Copy(c.segs[0][c.off:], src[:min(n, len(src))])
		n -= k
		from.advance(k)
		c.advance(k)
	}
}

func (c *cursor) advance(n int) {
	c.off += n
	for len(c.segs) > 0 && c.off == len(c.segs[0]) {
		c.segs, c.off = c.segs[1:], 0
	}
}
