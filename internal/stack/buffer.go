package stack

import (
	"math/bits"
	"sync"

	"vsockets.dev/internal/bulk"
)

// buffer is a ring of bytes that were received and not read. It has memory only
// while it holds bytes: what an idle connection costs does not depend on the
// size of its buffer.
type buffer struct {
	mem  *[]byte // len is a power of two; nil while empty
	r, n int     // the first byte, and how many
}

// minBuffer is the smallest ring. A small packet that comes to a reader that is
// busy needs no more.
const minBuffer = 4 << 10

// rings are unused rings, by the log2 of their size.
var rings [32]sync.Pool

func newRing(size int) *[]byte {
	if m, ok := rings[bits.TrailingZeros(uint(size))].Get().(*[]byte); ok {
		return m
	}
	m := make([]byte, size)
	return &m
}

func freeRing(m *[]byte) { rings[bits.TrailingZeros(uint(len(*m)))].Put(m) }

func (b *buffer) len() int { return b.n }

// write appends p. The caller has checked that there is credit for it, so that
// the ring stays below twice the connection's buffer size.
func (b *buffer) write(p []byte, limit int) {
	if len(p) == 0 {
		return
	}
	b.grow(b.n+len(p), limit)
	mem := *b.mem
	w := (b.r + b.n) & (len(mem) - 1)
	n := bulk.Copy(mem[w:], p)
	bulk.Copy(mem, p[n:])
	b.n += len(p)
}

// grow makes room for need bytes: with a ring twice as large as needed, where
// the limit allows one, so that a growing backlog is not copied at each packet.
func (b *buffer) grow(need, limit int) {
	if b.mem != nil && need <= len(*b.mem) {
		return
	}
	size := minBuffer
	for size < need {
		size <<= 1
	}
	if b.mem != nil && size < limit {
		size <<= 1
	}
	mem := newRing(size)
	if b.mem != nil {
		b.peek(*mem)
		freeRing(b.mem)
	}
	b.mem, b.r = mem, 0
}

// peek copies the first bytes to p and leaves them.
func (b *buffer) peek(p []byte) int {
	if b.n == 0 {
		return 0
	}
	mem := *b.mem
	first := mem[b.r:min(b.r+b.n, len(mem))]
	n := bulk.Copy(p, first)
	return n + bulk.Copy(p[n:], mem[:b.n-len(first)])
}

// read takes bytes out.
func (b *buffer) read(p []byte) int {
	n := b.peek(p)
	b.skip(n)
	return n
}

// skip takes n bytes out, of at least as many.
func (b *buffer) skip(n int) {
	if n == 0 {
		return
	}
	b.r = (b.r + n) & (len(*b.mem) - 1)
	if b.n -= n; b.n == 0 {
		b.discard()
	}
}

// discard forgets all bytes and gives the memory back.
func (b *buffer) discard() {
	if b.mem != nil {
		freeRing(b.mem)
	}
	*b = buffer{}
}
