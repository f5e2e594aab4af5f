package vhostuser

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
)

// attach connects a front-end to a session.
func attach(t *testing.T, s *served) *Frontend {
	t.Helper()
	f, err := Connect(t.Context(), s.front, 1<<32|1<<29|1<<40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// testQueuesOf makes queues with new events, which are closed with the test.
func testQueuesOf(t *testing.T, n int) []FrontendQueue {
	t.Helper()
	var queues []FrontendQueue
	for i := range n {
		var events [2]*eventfd.Event
		for j := range events {
			e, err := eventfd.New()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			events[j] = e
		}
		base := uint64(0x10000 * (i + 1))
		queues = append(queues, FrontendQueue{
			Size: 128, Desc: base, Avail: base + 0x4000, Used: base + 0x8000, Base: uint16(i),
			Kick: events[0], Call: events[1],
		})
	}
	return queues
}

func TestFrontend(t *testing.T) {
	r := &recorder{t: t}
	s := serve(t, r)
	f := attach(t, s)
	if got, want := f.Features(), uint64(1<<32|1<<29); got != want {
		t.Errorf("Features: %#x, want %#x", got, want)
	}
	for _, n := range []int{0, 4, len(testConfig)} {
		if got, err := f.Config(n); err != nil || !slices.Equal(got, testConfig[:n]) {
			t.Errorf("Config(%d): % x, %v", n, got, err)
		}
	}
	for _, n := range []int{-1, len(testConfig) + 1, MaxConfig + 1} {
		if got, err := f.Config(n); err == nil {
			t.Errorf("Config(%d): % x", n, got)
		}
	}

	fd := memory.open(t)
	defer func() { _ = unix.Close(fd) }()
	queues := testQueuesOf(t, testQueues)
	queues[2].Call = nil
	for round := range 2 {
		if err := f.Start(oneRegion, []int{fd}, queues); err != nil {
			t.Fatal(err)
		}
		for i, q := range queues {
			got := r.queues[i]
			want := QueueConfig{Size: q.Size, Desc: q.Desc, Avail: q.Avail, Used: q.Used, Base: q.Base, Kick: got.Kick, Call: got.Call}
			if got != want {
				t.Errorf("queue %d is started with %+v, want %+v", i, got, want)
			}
			signals(t, q.Kick, got.Kick)
			if q.Call != nil {
				signals(t, got.Call, q.Call)
			}
		}
		bases, err := f.Stop()
		if err != nil {
			t.Fatal(err)
		}
		if want := []uint16{5, 6, 7}; !slices.Equal(bases, want) {
			t.Errorf("round %d: stopped at %d, want %d", round, bases, want)
		}
	}
	want := []string{"SetFeatures 0x120000000", "SetMemory"}
	for _, q := range []string{"0", "1", "2"} {
		want = append(want, "StartQueue "+q+" size 128 base "+q, "EnableQueue "+q+" true")
	}
	for _, q := range []string{"0", "1", "2"} {
		want = append(want, "EnableQueue "+q+" false", "StopQueue "+q)
	}
	if diff := cmp.Diff(append(want, want...), r.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}

	if err := f.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-f.reader:
	default:
		t.Error("the reading goroutine outlives Close")
	}
	if err := f.Wait(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
	if _, err := f.Config(8); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Config after Close: %v", err)
	}
	if err := s.finish(t); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// signals checks that to wakes up when from is signalled.
func signals(t *testing.T, from interface{ Signal() error }, to *eventfd.Event) {
	t.Helper()
	asked := 0
	if !to.Wait(func() bool {
		if asked++; asked == 1 {
			if err := from.Signal(); err != nil {
				t.Errorf("Signal: %v", err)
			}
		}
		return asked == 2
	}) {
		t.Error("Wait was interrupted")
	}
}

// TestFrontendLeaves closes front-ends without a Stop.
func TestFrontendLeaves(t *testing.T) {
	before := held(t)
	s := serve(t, &recorder{t: t})
	f := attach(t, s)
	fd := memory.open(t)
	queues := testQueuesOf(t, 1)
	if err := f.Start(oneRegion, []int{fd}, queues); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := s.finish(t); err != nil {
		t.Errorf("Serve: %v", err)
	}
	_, _, _ = unix.Close(fd), queues[0].Kick.Close(), queues[0].Call.Close()
	noLeak(t, before)
}

func TestBackendLeaves(t *testing.T) {
	s := serve(t, &recorder{t: t})
	f := attach(t, s)
	s.cancel(errStop)
	if err := f.Wait(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	if err := f.Start(oneRegion, []int{0}, nil); err == nil {
		t.Error("Start works without a back-end")
	}
	_ = s.finish(t)
}

func TestStartRefuses(t *testing.T) {
	s := serve(t, &recorder{t: t})
	f := attach(t, s)
	fd := memory.open(t)
	defer func() { _ = unix.Close(fd) }()
	if f.Start(nil, nil, nil) == nil {
		t.Error("no memory is accepted")
	}
	if f.Start(oneRegion, nil, nil) == nil {
		t.Error("memory without a descriptor is accepted")
	}
	if f.Start(oneRegion, []int{fd}, make([]FrontendQueue, maxRings+1)) == nil {
		t.Error("257 queues are accepted")
	}
	queues := testQueuesOf(t, 1)
	queues[0].Size = 3
	if err := f.Start(oneRegion, []int{fd}, queues); err == nil {
		t.Error("a queue of 3 is accepted")
	}
	_ = s.hangUp(t)
}

// answering is a back-end that gives an answer, right or wrong, to each request,
// and goes away when there is none. It ends with what the front-end asked.
func answering(back *net.UnixConn, answer func(Header) []byte) <-chan []Header {
	asked := make(chan []Header, 1)
	go func() {
		r := newReceiver(back)
		var headers []Header
		defer func() {
			_ = back.Close()
			asked <- headers
		}()
		for {
			var m message
			err := r.next(&m)
			m.closeFDs()
			if err != nil {
				return
			}
			headers = append(headers, m.Header)
			b := answer(m.Header)
			if b == nil {
				return
			}
			if _, err := back.Write(b); err != nil {
				return // the front-end has had enough
			}
		}
	}()
	return asked
}

// reply is an encoded answer.
func reply(r Request, payload []byte) []byte {
	return append(Header{Request: r, Flags: version | flagReply, Size: uint32(len(payload))}.Append(nil), payload...)
}

// well is how a good back-end answers.
func well(h Header) []byte {
	switch h.Request {
	case GetFeatures:
		return reply(h.Request, offered)
	case GetProtocolFeatures:
		return reply(h.Request, protos)
	case GetConfig:
		return reply(h.Request, guestCID)
	case GetVringBase:
		return reply(h.Request, state(0, 9))
	}
	if h.Flags&flagNeedReply != 0 {
		return reply(h.Request, u64(0))
	}
	return []byte{}
}

// TestBadBackend has one answer of a back-end go wrong.
func TestBadBackend(t *testing.T) {
	flags := func(f uint32) func(Header) []byte {
		return func(h Header) []byte {
			b := well(h)
			wire.PutUint32(b[4:], f)
			return b
		}
	}
	with := func(payload []byte) func(Header) []byte {
		return func(h Header) []byte { return reply(h.Request, payload) }
	}
	faults := map[string]func(Header) []byte{
		"goes away":     func(Header) []byte { return nil },
		"other request": func(h Header) []byte { return reply(h.Request+1, well(h)[HeaderSize:]) },
		"not a reply":   flags(version),
		"asks a reply":  flags(version | flagReply | flagNeedReply),
		"no version":    flags(flagReply),
		"empty":         with(nil),
		"too long":      func(h Header) []byte { return reply(h.Request, append(well(h)[HeaderSize:], 0)) },
		"huge":          with(make([]byte, MaxPayload+1)),
		"says it twice": func(h Header) []byte { return append(well(h), well(h)...) },
	}
	more := map[Request]map[string]func(Header) []byte{
		SetOwner:            {"is answered": with(u64(0))},
		SetProtocolFeatures: {"is answered": with(u64(0))},
		SetFeatures:         {"refused": with(u64(1))},
		SetMemTable:         {"refused": with(u64(1))},
		SetVringNum:         {"refused": with(u64(1))},
		SetVringKick:        {"refused": with(u64(1))},
		SetVringEnable:      {"refused": with(u64(1))},
		GetVringBase:        {"other ring": with(state(1, 9)), "over 16 bits": with(state(0, 65536))},
		GetConfig: {
			"less":   with(Config{Data: testConfig[:7]}.Append(nil)),
			"offset": with(Config{Offset: 1, Data: testConfig}.Append(nil)),
		},
	}
	answered := []Request{GetFeatures, GetProtocolFeatures, SetFeatures, SetMemTable, SetVringCall, SetVringEnable, GetVringBase, GetConfig}
	for _, r := range answered {
		if more[r] == nil {
			more[r] = map[string]func(Header) []byte{}
		}
		maps.Copy(more[r], faults)
	}
	fd := memory.open(t)
	defer func() { _ = unix.Close(fd) }()
	queues := testQueuesOf(t, 1)
	for r := range more {
		for name, fault := range more[r] {
			t.Run(r.String()+"/"+name, func(t *testing.T) {
				front, back := socketPair(t)
				asked := answering(back, func(h Header) []byte {
					if h.Request == r {
						return fault(h)
					}
					return well(h)
				})
				f, err := Connect(t.Context(), front, 1<<32)
				if err == nil {
					err = useAll(f, fd, queues)
					_ = f.Close()
				}
				if err == nil {
					t.Error("nobody noticed")
				}
				<-asked
			})
		}
	}
}

// useAll makes use of all that a front-end can do.
func useAll(f *Frontend, fd int, queues []FrontendQueue) error {
	if err := f.Start(oneRegion, []int{fd}, queues); err != nil {
		return err
	}
	if _, err := f.Stop(); err != nil {
		return err
	}
	if _, err := f.Config(len(testConfig)); err != nil {
		return err
	}
	// A last request, for what came too much after the one before.
	return f.Start(oneRegion, []int{fd}, queues)
}

// TestBackendSendsDescriptors checks that they are closed, also when the
// back-end goes away in the middle of the message that brings them.
func TestBackendSendsDescriptors(t *testing.T) {
	for name, n := range map[string]int{"whole": HeaderSize + 8, "cut in header": 5, "cut": HeaderSize + 5} {
		t.Run(name, func(t *testing.T) {
			before := held(t)
			front, back := socketPair(t)
			sent := make(chan error, 1)
			go func() {
				defer func() { _ = back.CloseWrite() }()
				var b [2 * HeaderSize]byte // SET_OWNER and GET_FEATURES
				if _, err := io.ReadFull(back, b[:]); err != nil {
					sent <- err
					return
				}
				fd := memory.open(t)
				defer func() { _ = unix.Close(fd) }()
				_, _, err := back.WriteMsgUnix(reply(GetFeatures, u64(0))[:n], unix.UnixRights(fd, fd), nil)
				sent <- err
			}()
			f, err := Connect(t.Context(), front, 0)
			if whole := n == HeaderSize+8; (err == nil) != whole {
				t.Errorf("Connect: %v", err)
			}
			if f != nil {
				_ = f.Close()
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			_ = back.Close()
			noLeak(t, before)
		})
	}
}

// TestUnasked has a back-end speak first, while the front-end waits for nothing.
func TestUnasked(t *testing.T) {
	front, back := socketPair(t)
	asked := answering(back, well)
	f, err := Connect(t.Context(), front, 1<<32)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.Write(reply(GetConfig, guestCID)); err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	_ = f.Close()
	<-asked
}

// TestSilentBackend has a context end the wait for an answer that never comes.
func TestSilentBackend(t *testing.T) {
	front, _ := socketPair(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errStop)
	defer cancel()
	if _, err := Connect(ctx, front, 0); !errors.Is(err, errStop) {
		t.Errorf("Connect: %v", err)
	}
}

// TestPlainBackend meets a back-end without protocol features, and so without
// acknowledgements and configuration.
func TestPlainBackend(t *testing.T) {
	front, back := socketPair(t)
	asked := answering(back, func(h Header) []byte {
		if h.Request == GetFeatures {
			return reply(h.Request, u64(1<<32))
		}
		return well(h)
	})
	f, err := Connect(t.Context(), front, 1<<32)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Config(8); err == nil {
		t.Error("Config works without the protocol feature")
	}
	fd := memory.open(t)
	defer func() { _ = unix.Close(fd) }()
	if err := f.Start(oneRegion, []int{fd}, testQueuesOf(t, 1)); err != nil {
		t.Error(err)
	}
	if bases, err := f.Stop(); err != nil || !slices.Equal(bases, []uint16{9}) {
		t.Errorf("Stop: %d, %v", bases, err)
	}
	_ = f.Close()
	var want []Header
	for _, r := range []Request{
		SetOwner, GetFeatures, SetFeatures, SetMemTable,
		SetVringNum, SetVringBase, SetVringAddr, SetVringCall, SetVringKick, GetVringBase,
	} {
		want = append(want, Header{Request: r, Flags: version, Size: uint32(shapes[r].minSize)})
	}
	if diff := cmp.Diff(want, <-asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
