package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize is how much is copied at a time: the default buffer of a vsock
// connection, so that a whole one goes at once.
const bufferSize = 64 << 10

// spliceTime is for how long the kernel copies before it is asked how much. It is
// also how long a connection that has fallen silent keeps the kernel's pipe.
const spliceTime = time.Second

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copy copies until src ends. The bytes of a busy connection are left to the
// kernel, if it can: only of a busy one, because it takes a pipe, which is two
// descriptors, and because nothing is counted meanwhile.
func (r *run) copy(dst, src Conn, count *atomic.Uint64) error {
	buf := buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool has no others
	defer buffers.Put(buf)
	kernel := splices(dst, src)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			w, werr := dst.Write(buf[:n])
			r.count(count, w)
			if werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case kernel && n == len(buf):
			if ended, err := r.splice(dst, src, count); ended || err != nil {
				return err
			}
		}
	}
}

func (r *run) count(count *atomic.Uint64, n int) {
	r.moved.Add(uint64(n))
	if count != nil {
		count.Add(uint64(n))
	}
}

// splice has the kernel copy until src ends, or until it sends less in a slice of
// time than fills a buffer.
func (r *run) splice(dst, src Conn, count *atomic.Uint64) (ended bool, err error) {
	for {
		if err := src.SetReadDeadline(time.Now().Add(r.slice)); err != nil {
			return false, err
		}
		// The deadline is looked at between what is written and what is read, so it
		// loses nothing.
		n, err := io.Copy(dst, src)
		r.count(count, int(n))
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return true, err
		case n < bufferSize:
			return false, src.SetReadDeadline(time.Time{})
		}
	}
}

// splices says whether io.Copy leaves these to the kernel: see TCPConn.ReadFrom
// and WriteTo of package net.
func splices(dst, src Conn) bool {
	if runtime.GOOS != "linux" {
		return false
	}
	_, toTCP := dst.(*net.TCPConn)
	_, toUnix := dst.(*net.UnixConn)
	_, fromTCP := src.(*net.TCPConn)
	_, fromUnix := src.(*net.UnixConn)
	return toTCP && (fromTCP || fromUnix) || toUnix && fromTCP
}
