package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	testFeatures = 1<<32 | 1<<29 | 1<<28 | 1
	testQueues   = 3
)

var testConfig = []byte{3, 0, 0, 0, 0, 0, 0, 0} // guest_cid 3

// recorder is a Backend that notes what it is told, and holds the session
// against its contract.
type recorder struct {
	t    testing.TB
	fail string // the name of the method that fails

	mu      sync.Mutex
	log     []string
	mem     *guestmem.Memory
	started [testQueues]bool
	queues  [testQueues]QueueConfig
	bells   []*eventfd.Bell // all there were
	startC  chan int        // told of started queues, if not nil
}

// note records a call, and gives the error that it must return.
func (r *recorder) note(method string, args ...any) error {
	r.log = append(r.log, strings.TrimSpace(method+" "+strings.Trim(fmt.Sprint(args...), "[]")))
	if method == r.fail {
		return errors.New("the recorder fails")
	}
	return nil
}

func (r *recorder) Features() uint64 { return testFeatures }
func (r *recorder) NumQueues() int   { return testQueues }
func (r *recorder) Config() []byte   { return testConfig }

func (r *recorder) SetFeatures(acked uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, on := range r.started {
		if on {
			r.t.Errorf("SetFeatures while queue %d is started", i)
		}
	}
	return r.note("SetFeatures", fmt.Sprintf("%#x", acked))
}

func (r *recorder) SetMemory(m *guestmem.Memory) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m == nil || m == r.mem {
		r.t.Errorf("SetMemory(%p) after %p", m, r.mem)
	}
	r.mem = m
	return r.note("SetMemory")
}

func (r *recorder) StartQueue(i int, q QueueConfig) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.started[i]:
		r.t.Errorf("queue %d is started twice", i)
	case r.mem == nil:
		r.t.Errorf("queue %d is started without memory", i)
	case q.Size == 0 || q.Kick == nil:
		r.t.Errorf("queue %d is started with %+v", i, q)
	}
	r.bells = append(r.bells, &q.Kick.Bell)
	if q.Call != nil {
		r.bells = append(r.bells, q.Call)
	}
	if err := r.note("StartQueue", i, " size ", q.Size, " base ", q.Base); err != nil {
		return err
	}
	r.started[i], r.queues[i] = true, q
	if r.startC != nil {
		r.startC <- i
	}
	return nil
}

func (r *recorder) EnableQueue(i int, on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mustRun(i)
	return r.note("EnableQueue", i, " ", on)
}

func (r *recorder) SetCall(i int, call *eventfd.Bell) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mustRun(i)
	if err := r.note("SetCall", i, " ", call != nil); err != nil {
		return err
	}
	r.queues[i].Call = call
	if call != nil {
		r.bells = append(r.bells, call)
	}
	return nil
}

func (r *recorder) StopQueue(i int) (uint16, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mustRun(i)
	r.started[i] = false
	return r.queues[i].Base + 5, r.note("StopQueue", i)
}

// mustRun needs mu. It checks that queue i is started and has what it was given.
func (r *recorder) mustRun(i int) {
	if !r.started[i] {
		r.t.Errorf("queue %d is not started", i)
		return
	}
	if q := r.queues[i]; q.Kick.Closed() || q.Call != nil && q.Call.Closed() {
		r.t.Errorf("queue %d runs with a closed kick or call", i)
	}
}

// calls are the notes since the last time.
func (r *recorder) calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log = nil
	return log
}

// ended checks what must be so after the session.
func (r *recorder) ended() {
	r.t.Helper()
	for i, on := range r.started {
		if on {
			r.t.Errorf("queue %d is started after the session", i)
		}
	}
	for _, b := range r.bells {
		if !b.Closed() {
			r.t.Error("a kick or call is open after the session")
		}
	}
}

// socketPair gives two connected Unix sockets.
func socketPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
	}
	t.Cleanup(func() { _, _ = conns[0].Close(), conns[1].Close() })
	return conns[0], conns[1]
}

// held lists what a session may leave behind: the open descriptors of the
// process, and the guests' memory that it has mapped.
func held(t testing.TB) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil { // not Glob's own
			all = append(all, l+" "+to)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, memoryName) {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// noLeak checks that the process holds what it held before.
func noLeak(t testing.TB, before []string) {
	t.Helper()
	if after := held(t); !slices.Equal(before, after) {
		t.Errorf("held before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// A kind is what a test passes as a descriptor.
type kind string

const (
	memory   kind = "memory"
	event    kind = "event"
	blocking kind = "blocking event"
	stream   kind = "stream"
	datagram kind = "datagram"
	pipe     kind = "pipe"
	file     kind = "file"
)

var kinds = []kind{memory, event, blocking, stream, datagram, pipe, file}

const (
	testMemory = 1 << 20
	memoryName = "vhostuser-test-memory"
)

// open gives a new descriptor of the kind.
func (k kind) open(t testing.TB) (fd int) {
	t.Helper()
	var err error
	pair := make([]int, 2)
	switch k {
	case memory:
		if fd, err = unix.MemfdCreate(memoryName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err == nil {
			err = unix.Ftruncate(fd, testMemory)
		}
	case event:
		fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	case blocking:
		fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	case stream, datagram:
		typ := map[kind]int{stream: unix.SOCK_STREAM, datagram: unix.SOCK_DGRAM}[k]
		pair, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(pair[0])
		return pair[1]
	case pipe:
		err = unix.Pipe2(pair, unix.O_CLOEXEC)
		_ = unix.Close(pair[0])
		fd = pair[1]
	case file:
		fd, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// msg is a message that a test sends.
type msg struct {
	r       Request
	payload []byte
	fds     []kind
	ack     bool // with flagNeedReply
	answer  []byte
}

// write sends m.
func (m msg) write(t testing.TB, conn *net.UnixConn) error {
	t.Helper()
	h := Header{Request: m.r, Flags: version, Size: uint32(len(m.payload))}
	if m.ack {
		h.Flags |= flagNeedReply
	}
	var fds []int
	for _, k := range m.fds {
		fds = append(fds, k.open(t))
	}
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := conn.WriteMsgUnix(append(h.Append(nil), m.payload...), oob, nil)
	return err
}

// readAnswer reads one answer.
func readAnswer(conn *net.UnixConn) (Header, []byte, error) {
	var b [HeaderSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return Header{}, nil, err
	}
	h, err := ParseHeader(b[:])
	if err != nil {
		return h, nil, err
	}
	payload := make([]byte, h.Size)
	_, err = io.ReadFull(conn, payload)
	return h, payload, err
}

// served is a session under test.
type served struct {
	*recorder
	front  *net.UnixConn
	cancel context.CancelCauseFunc
	result chan error
}

// serve starts a session.
func serve(t testing.TB, r *recorder) *served {
	t.Helper()
	front, back := socketPair(t)
	// A session that hangs fails the test and not the machine's patience.
	if err := front.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &served{recorder: r, front: front, cancel: cancel, result: make(chan error, 1)}
	go func() { s.result <- Serve(ctx, back, r) }()
	t.Cleanup(func() { cancel(nil) })
	return s
}

// do sends messages and checks the answers.
func (s *served) do(t testing.TB, script ...msg) {
	t.Helper()
	for i, m := range script {
		if err := m.write(t, s.front); err != nil {
			t.Fatalf("message %d, %v: %v", i, m.r, err)
		}
		want := m.answer
		if m.ack && want == nil {
			want = AppendU64(nil, 0)
		}
		if want == nil {
			continue
		}
		h, got, err := readAnswer(s.front)
		if err != nil {
			t.Fatalf("message %d, %v: answer: %v", i, m.r, err)
		}
		if h.Request != m.r || h.Flags != version|flagReply || !slices.Equal(got, want) {
			t.Fatalf("message %d, %v: answer %v, flags %#x, % x; want % x", i, m.r, h.Request, h.Flags, got, want)
		}
	}
}

// finish waits for the end of the session, and checks what it left behind.
func (s *served) finish(t testing.TB) error {
	t.Helper()
	defer s.cancel(nil)
	select {
	case err := <-s.result:
		s.ended()
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the session does not end")
		return nil
	}
}

// hangUp says that the front-end sends nothing more, takes what the session
// still answers, and gives its result.
func (s *served) hangUp(t testing.TB) error {
	t.Helper()
	_ = s.front.CloseWrite()
	_, _ = io.Copy(io.Discard, s.front)
	return s.finish(t)
}
