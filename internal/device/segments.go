package device

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
