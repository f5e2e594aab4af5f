package bench

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// ReadBuffer is the size of the buffer that blocks are read with, whatever their
// size: a reader takes all there is.
const ReadBuffer = 64 << 10

// clockEvery is how many bytes are sent between looks at the clock, which would
// cost as much as a small block.
const clockEvery = 16 << 10

// sendBlocks writes blocks for a time, one Write each.
func sendBlocks(w io.Writer, block int, d time.Duration, moved *atomic.Uint64) (sent uint64, err error) {
	buf := make([]byte, block)
	for end := time.Now().Add(d); time.Now().Before(end); {
		n := uint64(0)
		for n < clockEvery {
			k, err := w.Write(buf)
			n += uint64(k)
			if err != nil {
				return sent + n, fmt.Errorf("bench: send blocks: %w", err)
			}
		}
		sent += n
		moved.Add(n)
	}
	buf[0] = 1
	n, err := w.Write(buf)
	if err != nil {
		err = fmt.Errorf("bench: send the last block: %w", err)
	}
	return sent + uint64(n), err
}

// receiveBlocks reads until the end of the last block. It reads nothing behind it
// in buf, unless the peer sent that before it was asked to.
func receiveBlocks(r io.Reader, block int, buf []byte, moved *atomic.Uint64) (received uint64, rest []byte, err error) {
	var last bool // the block that is under way is the last
	for {
		n, err := r.Read(buf)
		if n > 0 {
			before := received
			received += uint64(n)
			moved.Add(uint64(n))
			rest, done := scan(buf[:n], before, uint64(block), &last)
			if done {
				return received - uint64(len(rest)), rest, nil
			}
		}
		if err != nil {
			return received, nil, fmt.Errorf("bench: receive blocks: after %d bytes: %w", received, noEOF(err))
		}
	}
}

// scan looks for the end of the last block in b, which begins at byte off of all
// blocks.
func scan(b []byte, off, block uint64, last *bool) (rest []byte, done bool) {
	into := off % block // how much of the first block is there already
	if *last {
		if left := block - into; uint64(len(b)) >= left {
			return b[left:], true
		}
		return nil, false
	}
	first := (block - into) % block // where the first block of b begins
	if first >= uint64(len(b)) {
		return nil, false
	}
	// The last block has nothing behind it but a report. So if it ended in here,
	// it begins in the last two blocks and a report.
	from := first
	if tail := uint64(messageSize) + 2*block; uint64(len(b)) > first+tail {
		from += (uint64(len(b)) - first - tail) / block * block
	}
	for i := from; i < uint64(len(b)); i += block {
		if b[i] == 0 {
			continue
		}
		*last = true
		if uint64(len(b))-i >= block {
			return b[i+block:], true
		}
		return nil, false
	}
	return nil, false
}

// noEOF says that an end was not expected.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // io.Reader gives it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
