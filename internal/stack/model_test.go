package stack

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

// modelSequences is how many random sequences of calls a run makes.
const modelSequences = "10000"

// cable joins two stacks. It can be stopped: then it refuses what goes over it.
type cable struct {
	to      *Stack
	stopped bool
	waiters packet.Waiters
}

func (c *cable) Take(p *packet.Packet, w packet.Waker) (int, bool) {
	if c.stopped {
		if w != nil {
			c.waiters.Add(w)
		}
		return 0, w == nil
	}
	return c.to.Take(p, nil)
}

func (c *cable) start() {
	c.stopped = false
	for n := c.waiters.Len(); n > 0; n-- {
		c.waiters.Pop().Wake()
	}
}

// modelEnd is one end of a connection: the socket, and what should be true of it.
type modelEnd struct {
	s       vsock.Socket
	way     *cable // of what it sends
	peer    *modelEnd
	sent    int // bytes that Send took
	read    int // bytes that Recv gave
	shut    vsock.How
	closed  bool
	buffer  int    // its receive buffer
	pattern []byte // what it sends, repeated
}

// model is two ends, and the truth of a stream between them.
type model struct {
	ends [2]*modelEnd
}

func newModel(t *rapid.T) *model {
	toB, toA := new(cable), new(cable)
	a := New(Config{CID: 3, Out: toB})
	b := New(Config{CID: 4, Out: toA})
	toB.to, toA.to = b, a

	l := mustSocket(t, b)
	check(t, l.SetOption(vsock.BufferSize, uint64(rapid.IntRange(128, 2000).Draw(t, "buffer of b"))))
	check(t, l.Bind(vsock.Addr{CID: vsock.CIDAny, Port: 1024}))
	check(t, l.Listen(1))
	sa := mustSocket(t, a)
	size := rapid.IntRange(128, 2000).Draw(t, "buffer of a")
	check(t, sa.SetOption(vsock.BufferSize, uint64(size)))
	check(t, sa.Connect(context.Background(), vsock.Addr{CID: 4, Port: 1024}))
	sb, _, err := l.Accept()
	check(t, err)
	check(t, l.Close())

	m := new(model)
	for i, s := range []vsock.Socket{sa, sb} {
		check(t, s.SetNonblock(true))
		pattern := make([]byte, 251+i)
		for k := range pattern {
			pattern[k] = byte(k * (i + 3))
		}
		m.ends[i] = &modelEnd{s: s, buffer: size, pattern: pattern}
	}
	m.ends[0].way, m.ends[1].way = toB, toA
	m.ends[0].peer, m.ends[1].peer = m.ends[1], m.ends[0]
	return m
}

func check(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func mustSocket(t *rapid.T, st *Stack) vsock.Socket {
	s, err := st.Socket(vsock.Stream)
	check(t, err)
	return s
}

// bytesAt gives n bytes of what e sends, from a place on.
func (e *modelEnd) bytesAt(at, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = e.pattern[(at+i)%len(e.pattern)]
	}
	return b
}

// over says whether the connection has ended: one side has shut down both.
func (e *modelEnd) over() bool {
	return e.shut == vsock.ShutBoth || e.peer.shut == vsock.ShutBoth
}

// canSend is why Send must fail, nil if it must not.
func (e *modelEnd) canSend() error {
	switch {
	case e.closed:
		return net.ErrClosed
	case e.over(), e.shut&vsock.ShutWrite != 0, e.peer.shut&vsock.ShutRead != 0:
		return syscall.EPIPE
	}
	return nil
}

func (e *modelEnd) waiting() int { return e.peer.sent - e.read }

func (e *modelEnd) send(t *rapid.T) {
	n := rapid.IntRange(1, 3000).Draw(t, "bytes to send")
	got, err := e.s.Send(e.bytesAt(e.sent, n), 0)
	free := e.peer.buffer - e.peer.waiting()
	switch want := e.canSend(); {
	case want != nil:
		if !errors.Is(err, want) || got != 0 {
			t.Fatalf("Send: %d, %v; want %v", got, err, want)
		}
	case errors.Is(err, syscall.EAGAIN):
		// The peer tells of room when there is half a buffer of it.
		if free >= e.peer.buffer/2 {
			t.Fatalf("Send: EAGAIN with room for %d", free)
		}
	case err != nil || got < 1 || got > min(n, free):
		t.Fatalf("Send of %d: %d, %v; room for %d", n, got, err, free)
	}
	e.sent += got
}

func (e *modelEnd) recv(t *rapid.T) {
	p := make([]byte, rapid.IntRange(1, 3000).Draw(t, "bytes to receive"))
	var flags vsock.Flags
	if rapid.Bool().Draw(t, "peek") {
		flags = vsock.MsgPeek
	}
	got, _, err := e.s.Recv(p, flags)
	switch {
	case e.closed:
		if !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Recv after Close: %v", err)
		}
	case e.shut&vsock.ShutRead != 0:
		if got != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("Recv after shutdown: %d, %v", got, err)
		}
	case e.waiting() > 0:
		want := e.peer.bytesAt(e.read, min(len(p), e.waiting()))
		if err != nil || !bytes.Equal(p[:got], want) {
			t.Fatalf("Recv: %d bytes, %v; want %d: %x, want %x", got, err, len(want), p[:got], want)
		}
		if flags == 0 {
			e.read += got
		}
	case e.peer.shut&vsock.ShutWrite != 0:
		if !errors.Is(err, io.EOF) {
			t.Fatalf("Recv after the peer's end: %v", err)
		}
	default:
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("Recv of nothing: %d, %v", got, err)
		}
	}
}

func (e *modelEnd) shutdown(t *rapid.T) {
	how := rapid.SampledFrom([]vsock.How{vsock.ShutRead, vsock.ShutWrite, vsock.ShutBoth}).Draw(t, "how")
	err := e.s.Shutdown(how)
	if e.closed != errors.Is(err, net.ErrClosed) || !e.closed && err != nil {
		t.Fatalf("Shutdown: %v", err)
	}
	e.end(how)
}

func (e *modelEnd) close(t *rapid.T) {
	if err := e.s.Close(); e.closed != errors.Is(err, net.ErrClosed) {
		t.Fatalf("Close: %v", err)
	}
	e.closed = true
	e.end(vsock.ShutBoth)
}

// end notes a shutdown. One that comes after the end of the connection says
// nothing to the peer, and what the peer sent before is dropped by who will not read.
func (e *modelEnd) end(how vsock.How) {
	e.shut |= how
	if e.shut&vsock.ShutRead != 0 {
		e.read = e.peer.sent
	}
}

// ready holds Ready against what the next calls would do.
func (e *modelEnd) ready(t *rapid.T) {
	got := e.s.Ready()
	if e.closed {
		if got != vsock.PollNval {
			t.Fatalf("Ready after Close: %#x", got)
		}
		return
	}
	in := e.waiting() > 0 || e.shut&vsock.ShutRead != 0 || e.peer.shut&vsock.ShutWrite != 0 || e.over()
	if (got&vsock.PollIn != 0) != in {
		t.Fatalf("Ready: %#x, should Recv wait: %v", got, !in)
	}
	if e.canSend() != nil && got&vsock.PollOut == 0 {
		t.Fatalf("Ready: %#x, but Send fails at once", got)
	}
	if e.over() && got&vsock.PollHup == 0 {
		t.Fatalf("Ready: %#x, but both directions have ended", got)
	}
}

// TestModel makes random calls on both ends of a connection, and holds each
// result against what a stream is.
func TestModel(t *testing.T) {
	was := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", modelSequences); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = flag.Set("rapid.checks", was) }()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		defer m.end(t)
		end := func(t *rapid.T) *modelEnd { return m.ends[rapid.IntRange(0, 1).Draw(t, "end")] }
		t.Repeat(map[string]func(*rapid.T){
			"send":  func(t *rapid.T) { end(t).send(t) },
			"send2": func(t *rapid.T) { end(t).send(t) }, // as often as the others together
			"recv":  func(t *rapid.T) { end(t).recv(t) },
			"recv2": func(t *rapid.T) { end(t).recv(t) },
			"shutdown": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "rarely") == 0 {
					end(t).shutdown(t)
				}
			},
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					end(t).close(t)
				}
			},
			"": func(t *rapid.T) {
				for _, e := range m.ends {
					e.ready(t)
				}
			},
		})
	})
}

// end closes both, after which nothing of the connection is left.
func (m *model) end(t *rapid.T) {
	for _, e := range m.ends {
		_ = e.s.Close()
	}
	for _, e := range m.ends {
		if n := flows(e.way.to); n != 0 {
			t.Fatalf("%d connections are left", n)
		}
	}
}

// TestModelStops stops the ways between the ends at random, so that packets wait.
// What arrives must still be the stream, and all of it once the ways are free.
func TestModelStops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		defer m.end(t)
		end := func(t *rapid.T) *modelEnd { return m.ends[rapid.IntRange(0, 1).Draw(t, "end")] }
		t.Repeat(map[string]func(*rapid.T){
			"stop":  func(t *rapid.T) { end(t).way.stopped = true },
			"start": func(t *rapid.T) { end(t).way.start() },
			"send": func(t *rapid.T) {
				e := end(t)
				n, err := e.s.Send(e.bytesAt(e.sent, rapid.IntRange(1, 3000).Draw(t, "bytes")), 0)
				ended := e.shut != 0 && errors.Is(err, syscall.EPIPE)
				if err != nil && !ended && !errors.Is(err, syscall.EAGAIN) {
					t.Fatalf("Send: %v", err)
				}
				e.sent += n
			},
			"recv":     func(t *rapid.T) { drain(t, end(t)) },
			"shutdown": func(t *rapid.T) { e := end(t); check(t, e.s.Shutdown(vsock.ShutWrite)); e.shut |= vsock.ShutWrite },
		})
		for _, e := range m.ends {
			e.way.start()
		}
		for _, e := range m.ends {
			drain(t, e)
			if e.read != e.peer.sent {
				t.Fatalf("%d of %d bytes arrived", e.read, e.peer.sent)
			}
			_, _, err := e.s.Recv(make([]byte, 1), 0)
			if want := map[bool]error{false: syscall.EAGAIN, true: io.EOF}[e.peer.shut != 0]; !errors.Is(err, want) {
				t.Fatalf("at the end: %v, want %v", err, want)
			}
		}
	})
}

// drain receives what there is, and checks it.
func drain(t *rapid.T, e *modelEnd) {
	p := make([]byte, 100)
	for {
		n, _, err := e.s.Recv(p, 0)
		if !bytes.Equal(p[:n], e.peer.bytesAt(e.read, n)) {
			t.Fatalf("other bytes than were sent, from %d on", e.read)
		}
		e.read += n
		if err != nil {
			return
		}
	}
}
