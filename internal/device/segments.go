package device

// cursor is a place in a sequence of segments.
type cursor struct {
	segs [][]byte
	off  int // in the first
}

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
		k := copy(c.segs[0][c.off:], src[:min(n, len(src))])
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

// cut copies the first len(head) bytes, wherever the segments end, and gives the
// rest. It changes segs.
func cut(head []byte, segs [][]byte) (rest [][]byte, ok bool) {
	for len(segs) > 0 {
		n := copy(head, segs[0])
		head, segs[0] = head[n:], segs[0][n:]
		if len(head) == 0 {
			return segs, true
		}
		segs = segs[1:]
	}
	return nil, len(head) == 0
}

// trim gives the first n bytes of segments. It changes segs.
func trim(segs [][]byte, n int) [][]byte {
	for i, s := range segs {
		if len(s) >= n {
			segs[i] = s[:n]
			return segs[:i+1]
		}
		n -= len(s)
	}
	return segs
}
