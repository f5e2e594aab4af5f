package vswitch

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/attach"
	"vsockets.dev/vsock"
)

// The size of the switch that issue and documentation speak of.
const (
	manyContexts    = 1000
	manyConnections = 10_000
)

// filesPerContext is more than both ends of an attached context keep open.
const filesPerContext = 16

// usage is what a process uses of memory.
type usage struct {
	heap, stacks uint64 // in use, after a collection
	shared       uint64 // pages of mapped memory files that were touched, each counted once
	files        int
}

func measure(b *testing.B) usage {
	b.Helper()
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{heap: m.HeapAlloc, stacks: m.StackInuse, shared: pssShmem(b), files: openFiles(b)}
}

// pssShmem tells the memory in shared files, of which a page that is mapped twice, once
// by each end, counts as one.
func pssShmem(b *testing.B) uint64 {
	b.Helper()
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		b.Skip(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Pss_Shmem:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n << 10
		}
	}
	b.Skip("the system does not tell")
	return 0
}

// report tells what each of n takes.
func report(b *testing.B, of string, n int, before, after usage) {
	per := func(before, after uint64, unit string) {
		b.ReportMetric((float64(after)-float64(before))/float64(n), unit+"/"+of)
	}
	per(before.heap, after.heap, "heap-B")
	per(before.stacks, after.stacks, "stack-B")
	per(before.shared, after.shared, "shared-B")
	per(uint64(before.files), uint64(after.files), "files")
}

// BenchmarkContexts joins many processes to a switch, connects them to the host and to
// one another, sends a byte over each connection, and tells what that takes: both ends
// of all of it are in this process.
func BenchmarkContexts(b *testing.B) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Cur < manyContexts*filesPerContext {
		b.Skipf("%d files may be open, and it takes %d: ulimit -n", limit.Cur, manyContexts*filesPerContext)
	}
	for b.Loop() {
		joinMany(b)
	}
}

func joinMany(b *testing.B) {
	sw := New(Config{})
	defer sw.Close()
	path := filepath.Join(b.TempDir(), "s")
	if _, err := sw.AddAttach(AttachConfig{Socket: path, First: 1000, Last: 1000 + manyContexts, Groups: []string{"g"}, Limits: Limits{Connections: -1}}); err != nil {
		b.Fatal(err)
	}
	first := measure(b)
	stacks := make([]*attach.Stack, manyContexts)
	lns := make([]*vsock.Listener, manyContexts)
	for i := range stacks {
		s, err := attach.Dial(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		if lns[i], err = vsock.Listen(b.Context(), s, vsock.Addr{CID: vsock.CIDAny, Port: 1024}); err != nil {
			b.Fatal(err)
		}
		stacks[i] = s
	}
	host, err := vsock.Listen(b.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		b.Fatal(err)
	}
	joined := measure(b)
	report(b, "context", manyContexts, first, joined)

	conns := make([]*vsock.Conn, 0, 2*manyConnections)
	for i := range manyConnections {
		// Half of them to the host, half to the neighbour.
		from, ln := stacks[i%manyContexts], host
		if i/manyContexts%2 == 1 {
			ln = lns[(i+1)%manyContexts]
		}
		to := ln.Addr().(vsock.Addr)
		if ln == host {
			to.CID = vsock.CIDHost
		} else {
			to.CID, _ = stacks[(i+1)%manyContexts].LocalCID()
		}
		c, err := vsock.Dial(b.Context(), from, to)
		if err != nil {
			b.Fatal(err)
		}
		d, err := ln.AcceptConn()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Write([]byte{1}); err != nil {
			b.Fatal(err)
		}
		if _, err := d.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		conns = append(conns, c, d)
	}
	report(b, "connection", manyConnections, joined, measure(b))
	for _, c := range conns {
		_ = c.Close()
	}
}
