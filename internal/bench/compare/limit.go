package compare

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"vsockets.dev/internal/bench"
	"vsockets.dev/internal/bulk"
)

// limit is what two cores can do: blocks through a ring between two threads that
// never sleep, copied in and copied out, and nothing else.
type limit struct{}

func (limit) Name() string { return limitName }

func (limit) Open(context.Context, string, childFunc) (link, error) { return limit{}, nil }

func (limit) Close() error { return nil }

// limitRings are the rings of which the fastest counts: their sizes are powers of two that hold
// the largest of Blocks. A ring that fits into a cache of the second level is the faster where the
// processors share none. Where they share one, it may be the slower: the two threads come to wait
// for each other. And either way to copy is the faster one somewhere.
var limitRings = [...]struct {
	size int
	copy func(dst, src []byte) int
}{
	{512 << 10, bulk.Copy}, {2 << 20, bulk.Copy},
	{512 << 10, builtinCopy}, {2 << 20, builtinCopy},
}

func builtinCopy(dst, src []byte) int { return copy(dst, src) }

// How much is read at a time, and how much goes between two looks at the clock.
const (
	limitRead  = 16 << 10
	limitClock = 16 << 10
)

// spins is how often an end looks before it lets another goroutine run, which
// matters where there is one core.
const spins = 1 << 12

// ring has one producer and one consumer. Each counts the bytes that it has moved,
// on a cache line of its own.
type ring struct {
	_    [64]byte
	head atomic.Uint64 // consumed
	_    [56]byte
	tail atomic.Uint64 // produced
	_    [56]byte
	buf  []byte
	copy func(dst, src []byte) int
}

func newRing(size int, copying func(dst, src []byte) int) *ring {
	return &ring{buf: make([]byte, size), copy: copying}
}

// write copies all of b in. seen is the producer's last look at head.
func (r *ring) write(b []byte, seen *uint64) {
	tail, size := r.tail.Load(), uint64(len(r.buf))
	for n := 0; tail+uint64(len(b))-*seen > size; n++ {
		if n >= spins {
			runtime.Gosched()
		}
		*seen = r.head.Load()
	}
	at := tail & (size - 1)
	if n := r.copy(r.buf[at:], b); n < len(b) {
		r.copy(r.buf, b[n:])
	}
	r.tail.Store(tail + uint64(len(b)))
}

// read copies out what there is, at least one byte, unless stopped says that there
// will be none.
func (r *ring) read(b []byte, stopped func() bool) int {
	head := r.head.Load()
	end := false
	for n := 0; ; n++ {
		have := r.tail.Load() - head
		if have > 0 {
			at := head & uint64(len(r.buf)-1)
			k := r.copy(b[:min(uint64(len(b)), have)], r.buf[at:])
			r.head.Store(head + uint64(k))
			return k
		}
		if end {
			return 0
		}
		if n >= spins {
			end = stopped() // then one more look
			runtime.Gosched()
			n = 0
		}
	}
}

func (limit) Run(_ context.Context, j bench.Job) (bench.Result, error) {
	switch j.Kind {
	case bench.Up:
		var best bench.Result
		j.Time /= time.Duration(len(limitRings))
		blocks, bufs := make([]byte, j.Streams*j.Block), make([]byte, j.Streams*bench.ReadBuffer)
		clear(blocks) // so that there is memory behind them
		clear(bufs)
		for _, l := range limitRings {
			if r := withCPU(func() bench.Result { return limitUp(j, newRing(l.size, l.copy), blocks, bufs) }); r.BytesPerSecond() > best.BytesPerSecond() {
				best = r
			}
		}
		return best, nil
	case bench.Echo:
		return withCPU(func() bench.Result { return limitEcho(j) }), nil
	default:
		return bench.Result{}, errors.ErrUnsupported
	}
}

// withCPU adds to what f measures the CPU time that it took.
func withCPU(f func() bench.Result) bench.Result {
	cpu := bench.CPUTime()
	r := f()
	r.CPU = bench.CPUTime() - cpu
	return r
}

// onThread runs f on a thread of its own.
func onThread(all *sync.WaitGroup, f func()) {
	all.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f()
	})
}

// limitUp sends all blocks, and receives to all buffers, one after another.
func limitUp(j bench.Job, pipe *ring, blocks, bufs []byte) (r bench.Result) {
	var done atomic.Bool
	var all sync.WaitGroup
	start := time.Now()
	onThread(&all, func() {
		defer done.Store(true)
		var seen uint64
		at := 0
		for time.Since(start) < j.Time {
			for n := 0; n < limitClock; n += j.Block {
				pipe.write(blocks[at:][:j.Block], &seen)
				if at += j.Block; at == len(blocks) {
					at = 0
				}
			}
		}
	})
	onThread(&all, func() {
		for at := 0; ; {
			n := pipe.read(bufs[at:min(at+limitRead, len(bufs))], done.Load)
			if n == 0 {
				return
			}
			r.Bytes += uint64(n)
			if at += n; at == len(bufs) {
				at = 0
			}
		}
	})
	all.Wait()
	r.Elapsed = time.Since(start)
	return r
}

func limitEcho(j bench.Job) (r bench.Result) {
	there, back := newRing(limitRings[0].size, builtinCopy), newRing(limitRings[0].size, builtinCopy)
	var done atomic.Bool
	var all sync.WaitGroup
	h := hdrhistogram.New(1, int64(time.Minute), 3)
	start := time.Now()
	onThread(&all, func() {
		defer done.Store(true)
		block, buf := make([]byte, j.Block), make([]byte, j.Block)
		never := func() bool { return false }
		var seen uint64
		for now := start; now.Sub(start) < j.Time; {
			there.write(block, &seen)
			for n := 0; n < len(buf); {
				n += back.read(buf[n:], never)
			}
			after := time.Now()
			_ = h.RecordValue(max(1, int64(after.Sub(now)))) // beyond a minute it is nobody's
			now = after
			r.Ops++
		}
	})
	onThread(&all, func() {
		buf := make([]byte, j.Block)
		var seen uint64
		for {
			n := there.read(buf, done.Load)
			if n == 0 {
				return
			}
			back.write(buf[:n], &seen)
		}
	})
	all.Wait()
	r.Elapsed, r.Bytes = time.Since(start), r.Ops*uint64(j.Block)
	r.Latency = bench.LatencyOf(h)
	return r
}
