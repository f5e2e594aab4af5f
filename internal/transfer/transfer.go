// Package transfer moves bytes over a connection and proves that they arrived:
// for tests, and for the demonstration.
//
// The sender sends random bytes and ends its direction. The receiver reads to the
// end, and answers with the SHA-256 of what it got. So every transfer proves a
// half-close, too: the answer comes after it.
package transfer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync"
)

// Conn is what a transfer needs of a connection.
type Conn interface {
	io.ReadWriter
	CloseWrite() error
}

// blockSize is the size of writes and reads.
const blockSize = 64 << 10

// patternSize is how many random bytes there are before they repeat. It is odd,
// so that the same bytes never stand at the same place of two blocks.
const patternSize = 1<<20 + 7

// pattern is random bytes, and the first block of them again, so that no block
// wraps around.
var pattern = sync.OnceValue(func() []byte {
	p := make([]byte, patternSize+blockSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p[:patternSize])
	copy(p[patternSize:], p)
	return p
})

// Send sends n random bytes, and checks the receiver's answer. Which bytes they
// are depends on the seed. Progress, if not nil, is told the bytes as they go.
func Send(c Conn, n int64, seed uint64, progress func(int)) error {
	at := int(seed * 7919 % patternSize)
	sum := sha256.New()
	for ; n > 0; at = (at + blockSize) % patternSize {
		b := pattern()[at:][:min(n, blockSize)]
		if _, err := c.Write(b); err != nil {
			return err
		}
		sum.Write(b)
		n -= int64(len(b))
		if progress != nil {
			progress(len(b))
		}
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(c, sha256.Size+1))
	if err != nil {
		return fmt.Errorf("transfer: answer after the half-close: %w", err)
	}
	if want := sum.Sum(nil); !bytes.Equal(answer, want) {
		return fmt.Errorf("transfer: the receiver answers SHA-256 %x, sent was %x", answer, want)
	}
	return nil
}

// Receive reads all, answers with its SHA-256, and tells how much it was.
func Receive(c Conn, progress func(int)) (int64, error) {
	w := &digest{sum: sha256.New(), progress: progress}
	n, err := io.CopyBuffer(w, c, make([]byte, blockSize))
	if err != nil {
		return n, err
	}
	if _, err := c.Write(w.sum.Sum(nil)); err != nil {
		return n, err
	}
	return n, c.CloseWrite()
}

type digest struct {
	sum      hash.Hash
	progress func(int)
}

func (d *digest) Write(p []byte) (int, error) {
	if d.progress != nil {
		d.progress(len(p))
	}
	return d.sum.Write(p)
}
