package vsocktest

import (
	"context"
	"errors"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/vsock"
)

// patience is how long a test waits for what must happen. It is the deadline of
// every socket that a rig makes: a stack that hangs fails the test, and no more. A test
// that makes hundreds of calls has it renewed, since a call to an emulated guest takes long.
const patience = 10 * time.Second

// soon is a deadline that a test waits out.
const soon = 20 * time.Millisecond

// settled is how long nothing moves where a relay is stuck.
const settled = 100 * time.Millisecond

// anyAddr is any CID and any port.
var anyAddr = vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny}

var errEOF = io.EOF

// rig is what a test has: a pair, and what it does with its sockets. What does not
// go as it must ends the test; all but want are for the test's own goroutine.
type rig struct {
	*testing.T
	Pair
}

// socket makes a socket of an end, which the test need not close.
func (r *rig) socket(e End, typ vsock.Type) vsock.Socket {
	r.Helper()
	s, err := e.Stack.Socket(typ)
	if err != nil {
		r.Fatalf("socket(%v): %v", typ, err)
	}
	return r.own(s)
}

// own makes a socket the rig's.
func (r *rig) own(s vsock.Socket) vsock.Socket {
	r.Helper()
	r.Cleanup(func() { _ = s.Close() })
	r.ok(renew(s), "set the deadlines")
	return s
}

// renew gives a socket the deadlines of one that is new.
func renew(s vsock.Socket) error {
	limit := time.Now().Add(patience)
	return errors.Join(s.SetReadDeadline(limit), s.SetWriteDeadline(limit))
}

// renewEvery is after how many calls a test renews the deadlines.
const renewEvery = 100

// bound makes a socket with a free port.
func (r *rig) bound(e End, typ vsock.Type) (vsock.Socket, vsock.Addr) {
	r.Helper()
	s := r.socket(e, typ)
	return s, r.bind(e, s)
}

// bind gives a socket a free port, and tells the address for the other end.
func (r *rig) bind(e End, s vsock.Socket) vsock.Addr {
	r.Helper()
	r.ok(s.Bind(anyAddr), "bind")
	return vsock.Addr{CID: e.CID, Port: r.name(s).Port}
}

// listen makes a socket of B a listener.
func (r *rig) listen(s vsock.Socket, backlog int) vsock.Addr {
	r.Helper()
	a := r.bind(r.B, s)
	r.ok(s.Listen(backlog), "listen")
	return a
}

// listener makes a listener at B, with room for all that a test does.
func (r *rig) listener(typ vsock.Type) (vsock.Socket, vsock.Addr) {
	r.Helper()
	s := r.socket(r.B, typ)
	return s, r.listen(s, 32)
}

func (r *rig) connect(s vsock.Socket, a vsock.Addr) {
	r.Helper()
	r.ok(s.Connect(r.Context(), a), "connect")
}

func (r *rig) accept(l vsock.Socket) vsock.Socket {
	r.Helper()
	s, _, err := l.Accept()
	if err != nil {
		r.Fatalf("accept: %v", err)
	}
	return r.own(s)
}

// joined makes a connection with default options: a's end and b's.
func (r *rig) joined(typ vsock.Type) (a, b vsock.Socket) {
	r.Helper()
	a = r.socket(r.A, typ)
	l, addr := r.listener(typ)
	r.connect(a, addr)
	return a, r.accept(l)
}

// sized makes a connection whose buffers have a size, at both ends.
func (r *rig) sized(typ vsock.Type, size uint64) (a, b vsock.Socket) {
	r.Helper()
	a, l := r.socket(r.A, typ), r.socket(r.B, typ)
	for _, s := range []vsock.Socket{a, l} {
		r.set(s, vsock.BufferSize, size)
	}
	addr := r.listen(l, 1)
	r.connect(a, addr)
	return a, r.accept(l)
}

// refused is an address of B where nobody listens.
func (r *rig) refused() vsock.Addr {
	r.Helper()
	s, addr := r.bound(r.B, vsock.Stream)
	r.ok(s.Close(), "close")
	return addr
}

func (r *rig) set(s vsock.Socket, o vsock.Option, v uint64) {
	r.Helper()
	if err := s.SetOption(o, v); err != nil {
		r.Fatalf("set %v to %d: %v", o, v, err)
	}
}

func (r *rig) get(s vsock.Socket, o vsock.Option) uint64 {
	r.Helper()
	v, err := s.Option(o)
	if err != nil {
		r.Fatalf("get %v: %v", o, err)
	}
	return v
}

// has says that an option must have a value.
func (r *rig) has(s vsock.Socket, o vsock.Option, want uint64) {
	r.Helper()
	if got := r.get(s, o); got != want {
		r.Errorf("%v is %d, want %d", o, got, want)
	}
}

func (r *rig) nonblock(s vsock.Socket) {
	r.Helper()
	r.ok(s.SetNonblock(true), "SetNonblock")
}

func (r *rig) name(s vsock.Socket) vsock.Addr {
	r.Helper()
	a, err := s.LocalAddr()
	r.ok(err, "getsockname")
	return a
}

func (r *rig) peerName(s vsock.Socket) vsock.Addr {
	r.Helper()
	a, err := s.RemoteAddr()
	r.ok(err, "getpeername")
	return a
}

// ok says that a call must succeed.
func (r *rig) ok(err error, what string) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// want says that a call must fail, and how.
func (r *rig) want(err, want error, what string) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// send sends all of p.
func (r *rig) send(s vsock.Socket, p string) {
	r.Helper()
	if n, err := s.Send([]byte(p), 0); n != len(p) || err != nil {
		r.Fatalf("send of %d bytes: %d, %v", len(p), n, err)
	}
}

// recv takes len(want) bytes, which must be those.
func (r *rig) recv(s vsock.Socket, want string) {
	r.Helper()
	p := make([]byte, len(want))
	if n, err := io.ReadFull(s, p); string(p[:n]) != want || err != nil {
		r.Fatalf("received %q, %v; want %q", p[:n], err, want)
	}
}

// fails says how receiving must fail, once all data is taken.
func (r *rig) fails(s vsock.Socket, want error) {
	r.Helper()
	n, _, err := s.Recv(make([]byte, 8), 0)
	if n != 0 || !errors.Is(err, want) {
		r.Errorf("recv: %d, %v; want %v", n, err, want)
	}
}

// sendFails sends until it fails, which must come to be once the news of the peer
// has come. A signal would be no news: what must come is an error.
func (r *rig) sendFails(s vsock.Socket, want error) {
	r.Helper()
	for {
		if _, err := s.Send([]byte("x"), 0); err != nil {
			r.want(err, want, "send")
			return
		}
	}
}

// await polls for events, and gives those that came.
func (r *rig) await(s vsock.Socket, e vsock.Events) vsock.Events {
	r.Helper()
	fds := []vsock.PollFD{{Socket: s, Events: e}}
	if vsock.Poll(fds, patience) != 1 {
		r.Fatalf("poll for %#x: nothing came", e)
	}
	return fds[0].Revents
}

// awaits waits until all of the events hold.
func (r *rig) awaits(s vsock.Socket, e vsock.Events) {
	r.Helper()
	r.until(func() bool { return s.Ready()&e == e }, "events %#x, has %#x", e, s.Ready())
}

// idle says that none of the events holds now.
func (r *rig) idle(s vsock.Socket, e vsock.Events) {
	r.Helper()
	fds := []vsock.PollFD{{Socket: s, Events: e}}
	if vsock.Poll(fds, 0) != 0 {
		r.Errorf("poll for %#x: %#x, want none", e, fds[0].Revents)
	}
}

// until waits for what no event tells of.
func (r *rig) until(done func() bool, format string, args ...any) {
	r.Helper()
	limit := time.Now().Add(patience)
	for !done() {
		if time.Now().After(limit) {
			r.Fatalf("never came: "+format, args...)
		}
		vsock.Poll(nil, time.Millisecond)
	}
}

// background runs f beside the test, and gives it some time to come to where it
// waits: the test holds either way, but waiting is what it is about. The function
// that background gives waits for f.
func (r *rig) background(f func() error) (wait func() error) {
	began := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		close(began)
		result <- f()
	}()
	<-began
	for range 100 {
		runtime.Gosched()
	}
	return func() error {
		r.Helper()
		select {
		case err := <-result:
			return err
		case <-time.After(2 * patience):
			r.Fatal("a call that must have ended hangs")
			return nil
		}
	}
}

// fill sends until the peer has all that it has room for, and gives what that is.
func (r *rig) fill(from, to vsock.Socket) (filled string) {
	r.Helper()
	p := pattern(4096)
	if r.relayed() {
		return r.fillRelayed(from, p)
	}
	peeked := make([]byte, 1<<20)
	for {
		chunk := p[len(filled)%len(p):]
		n, err := from.Send([]byte(chunk), vsock.MsgDontWait)
		filled += chunk[:n]
		if err == nil {
			continue
		}
		if !errors.Is(err, syscall.EAGAIN) {
			r.Fatalf("send: %v", err)
		}
		// What has not arrived yet may still turn out to leave room.
		if n, _, _ := to.Recv(peeked, vsock.MsgPeek|vsock.MsgDontWait); n == len(filled) && from.Ready()&vsock.PollOut == 0 {
			return filled
		}
		vsock.Poll([]vsock.PollFD{{Socket: from, Events: vsock.PollOut}}, time.Millisecond)
	}
}

// fillRelayed is fill where it is not known how much there is room for on the way,
// nor where. It is full when nothing goes, and after some time still does not.
func (r *rig) fillRelayed(from vsock.Socket, p string) (filled string) {
	r.Helper()
	for full := false; ; {
		chunk := p[len(filled)%len(p):]
		n, err := from.Send([]byte(chunk), vsock.MsgDontWait)
		filled += chunk[:n]
		switch {
		case err == nil:
			full = false
		case !errors.Is(err, syscall.EAGAIN):
			r.Fatalf("send: %v", err)
		case full:
			return filled
		default:
			full = vsock.Poll([]vsock.PollFD{{Socket: from, Events: vsock.PollOut}}, settled) == 0
		}
	}
}

// relayed says that there are further buffers between the ends.
func (r *rig) relayed() bool { return r.A.Traits.Relayed || r.B.Traits.Relayed }

// pattern gives n bytes, of which no two parts are alike.
func pattern(n int) string {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return string(p)
}

// cancelled is a context that has ended.
func (r *rig) cancelled() context.Context {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	return ctx
}

// looped checks the names of a connection within B's context, to a CID of it: as
// who accepts it sees its connector, and as that sees itself.
func (r *rig) looped(from, self vsock.Addr, cid uint32) {
	r.Helper()
	if r.B.Traits.LoopbackFromLocal {
		cid, self.CID = vsock.CIDLocal, vsock.CIDLocal
	}
	if from != self || from.CID != cid {
		r.Errorf("accepted from %v, connected from %v, want CID %d", from, self, cid)
	}
}
