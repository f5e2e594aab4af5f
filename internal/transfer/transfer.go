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
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sync"
)

// What Send may find out. Of ErrCut the connection itself said nothing: it ended as if
// all were well.
var (
	ErrCorrupt = errors.New("transfer: what the receiver got is not what was sent")
	ErrCut     = errors.New("transfer: the connection ended before the receiver's answer")
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
	switch want := sum.Sum(nil); {
	case len(answer) < sha256.Size:
		return fmt.Errorf("%w: %d bytes of it came", ErrCut, len(answer))
	case !bytes.Equal(answer, want):
		return fmt.Errorf("%w: it answers SHA-256 %x, sent was %x", ErrCorrupt, answer, want)
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

// Exchange sends n bytes to one that echoes, and compares what comes back meanwhile, to
// the end, which is the echo's answer to ours. After an error, the connection is to be
// closed: something may still be sent.
func Exchange(c Conn, n int64, seed uint64) error {
	sent := make(chan error, 1)
	go func() { sent <- sendOnly(c, n, seed) }()
	at := int(seed * 7919 % patternSize)
	buf := make([]byte, blockSize)
	var got int64
	for ; got < n; at = (at + blockSize) % patternSize {
		b := buf[:min(n-got, blockSize)]
		k, err := io.ReadFull(c, b)
		got += int64(k)
		if !bytes.Equal(b[:k], pattern()[at:][:k]) {
			return fmt.Errorf("%w: the echo is another one, before byte %d", ErrCorrupt, got)
		}
		if err != nil {
			return errors.Join(cut(err, got), <-sent)
		}
	}
	if err := <-sent; err != nil {
		return err
	}
	switch k, err := c.Read(buf[:1]); {
	case k > 0:
		return fmt.Errorf("%w: the echo goes on beyond its %d bytes", ErrCorrupt, n)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("transfer: the end of the echo: %w", err)
	}
	return nil
}

func sendOnly(c Conn, n int64, seed uint64) error {
	for at := int(seed * 7919 % patternSize); n > 0; at = (at + blockSize) % patternSize {
		b := pattern()[at:][:min(n, blockSize)]
		if _, err := c.Write(b); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return c.CloseWrite()
}

// cut tells an end that came too early.
func cut(err error, got int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %d bytes of the echo came", ErrCut, got)
	}
	return err
}
