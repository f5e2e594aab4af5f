package cp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// blockSize is how much is copied at a time.
const blockSize = 64 << 10

// ErrChecksum is a file that came otherwise than it was sent.
var ErrChecksum = errors.New("cp: the checksum is wrong: the file has changed on its way")

// send sends size bytes and their checksum.
func send(to io.Writer, from io.Reader, size uint64) ([]byte, error) {
	sum := sha256.New()
	n, err := copyBlocks(io.MultiWriter(sum, to), from, size)
	if err != nil {
		return nil, err
	}
	if n < size {
		return nil, fmt.Errorf("cp: the file has become shorter while it was sent: %d of %d bytes", n, size)
	}
	d := sum.Sum(nil)
	_, err = to.Write(d)
	return d, err
}

// receive takes size bytes and their checksum.
func receive(to io.Writer, from io.Reader, size uint64) ([]byte, error) {
	sum := sha256.New()
	n, err := copyBlocks(io.MultiWriter(sum, to), from, size)
	if err != nil {
		return nil, err
	}
	if n < size {
		return nil, fmt.Errorf("cp: the connection ended after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(from, want); err != nil {
		return nil, fmt.Errorf("cp: reading the checksum: %w", err)
	}
	got := sum.Sum(nil)
	if !bytes.Equal(got, want) {
		return nil, ErrChecksum
	}
	return got, nil
}

// copyBlocks copies at most size bytes.
func copyBlocks(to io.Writer, from io.Reader, size uint64) (n uint64, err error) {
	buf := make([]byte, blockSize)
	for n < size {
		k, err := from.Read(buf[:min(uint64(len(buf)), size-n)])
		n += uint64(k)
		if k > 0 {
			if _, err := to.Write(buf[:k]); err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
