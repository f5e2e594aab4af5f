// Package bulk copies payloads.
package bulk

// Copy is the builtin copy for slices that do not overlap, and faster where they are long.
//
// Before a processor writes to a line of cache, it reads it, and if another has written to it
// last, or read it, from there. What goes from one processor to another by the same buffers over
// and over does so each time. REP MOVSB knows that all of the line will be written, and reads
// nothing: where the two share no cache, it takes a fifth of the time, see docs/PERFORMANCE.md.
// The builtin uses such an instruction on some processors only (Go 1.26, runtime/memmove_amd64.s).
func Copy(dst, src []byte) int {
	n := min(len(dst), len(src))
	if n < least || !wholeLines || !copyLines(&dst[0], &src[0], uintptr(n)) {
		return copy(dst, src)
	}
	noteCopy(dst[:n], src[:n])
	return n
}

// least is from how many bytes on that is faster: the instruction takes some time to begin.
const least = 2 << 10
