package vhostuser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/eventfd"
	"vsockets.dev/internal/guestmem"
)

// ReplyTimeout is how long a front-end waits for a back-end's answer. A back-end
// answers at once; one that does not is broken, or no vhost-user back-end.
const ReplyTimeout = 10 * time.Second

// wantedProtocol are the protocol features that a front-end makes use of.
const wantedProtocol = ProtocolMQ | ProtocolReplyAck | ProtocolConfig

// Frontend is the front-end's side of a session: it hands memory and queues of
// its own to a device in another process. Its methods may be called from several
// goroutines.
type Frontend struct {
	conn     *net.UnixConn
	features uint64 // negotiated, with FeatureProtocolFeatures
	protocol uint64 // negotiated

	mu    sync.Mutex // held from a request to its answer
	rings int        // given to the device; under mu

	waiting atomic.Bool   // a request waits for its answer
	answers chan message  // from the reading goroutine to it
	reader  chan struct{} // closed when that goroutine has ended

	once sync.Once
	done chan struct{} // closed when the session has ended
	err  error         // why; set before done is closed
}

// FrontendQueue is a queue to be given to the device. Kick and Call stay the
// caller's, to be closed after Stop or Close.
type FrontendQueue struct {
	Size              uint16
	Desc, Avail, Used uint64 // user addresses
	Base              uint16
	Kick              *eventfd.Event // for the caller to signal
	Call              *eventfd.Event // for the caller to wait for; nil to poll
}

// Connect begins a session with the back-end behind conn. Of the features in
// want, Features tells which the back-end has too. The front-end owns conn, also
// if Connect fails.
func Connect(ctx context.Context, conn *net.UnixConn, want uint64) (*Frontend, error) {
	f := &Frontend{
		conn:    conn,
		answers: make(chan message),
		reader:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	go f.read()
	if err := f.negotiate(ctx, want); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// negotiate needs mu, or nobody else yet.
func (f *Frontend) negotiate(ctx context.Context, want uint64) error {
	if err := f.set(ctx, SetOwner, nil); err != nil {
		return err
	}
	offered, err := f.getU64(ctx, GetFeatures)
	if err != nil {
		return err
	}
	f.features = offered & (want | FeatureProtocolFeatures)
	if f.features&FeatureProtocolFeatures == 0 {
		return nil
	}
	offered, err = f.getU64(ctx, GetProtocolFeatures)
	if err != nil {
		return err
	}
	protocol := offered & wantedProtocol
	if err := f.set(ctx, SetProtocolFeatures, AppendU64(nil, protocol)); err != nil {
		return err
	}
	// From the next request on: back-ends differ on whether this one is acknowledged.
	f.protocol = protocol
	return nil
}

// Features are the virtio features that both sides have.
func (f *Frontend) Features() uint64 { return f.features &^ FeatureProtocolFeatures }

// Config reads the first n bytes of the device's configuration space.
func (f *Frontend) Config(n int) ([]byte, error) {
	if f.protocol&ProtocolConfig == 0 {
		return nil, errors.New("vhostuser: the back-end does not tell its configuration space")
	}
	if n < 0 || n > MaxConfig {
		return nil, fmt.Errorf("vhostuser: %d bytes of configuration space, want 0 to %d", n, MaxConfig)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.call(context.Background(), GetConfig, Config{Data: make([]byte, n)}.Append(nil))
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(b)
	if err != nil || c.Offset != 0 || len(c.Data) != n {
		return nil, errors.Join(fmt.Errorf("vhostuser: the back-end does not tell %d bytes of its configuration space", n), err)
	}
	return c.Data, nil
}

// Start gives the device the memory and the queues, and sets them to work. fds
// are the files of the regions, which stay the caller's.
func (f *Frontend) Start(regions []guestmem.Region, fds []int, queues []FrontendQueue) error {
	if n := len(regions); n < 1 || n > MaxRegions || len(fds) != n {
		return fmt.Errorf("vhostuser: %d memory regions with %d descriptors, want 1 to %d with one each", n, len(fds), MaxRegions)
	}
	if len(queues) > maxRings {
		return fmt.Errorf("vhostuser: %d queues, at most %d are possible", len(queues), maxRings)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx := context.Background()
	if err := f.set(ctx, SetFeatures, AppendU64(nil, f.features)); err != nil {
		return err
	}
	if err := f.set(ctx, SetMemTable, AppendMemTable(nil, regions), fds...); err != nil {
		return err
	}
	for i, q := range queues {
		f.rings = max(f.rings, i+1)
		if err := f.startQueue(ctx, uint32(i), q); err != nil {
			return fmt.Errorf("vhostuser: queue %d: %w", i, err)
		}
	}
	return nil
}

// startQueue needs mu. The kick comes after all else that a back-end has to know
// of a queue, for some start with it.
func (f *Frontend) startQueue(ctx context.Context, i uint32, q FrontendQueue) error {
	for _, m := range []struct {
		request Request
		payload []byte
	}{
		{SetVringNum, VringState{i, uint32(q.Size)}.Append(nil)},
		{SetVringBase, VringState{i, uint32(q.Base)}.Append(nil)},
		{SetVringAddr, VringAddr{Index: i, Desc: q.Desc, Used: q.Used, Avail: q.Avail}.Append(nil)},
	} {
		if err := f.set(ctx, m.request, m.payload); err != nil {
			return err
		}
	}
	if err := f.setEvent(ctx, SetVringCall, uint8(i), q.Call); err != nil {
		return err
	}
	if err := f.setEvent(ctx, SetVringKick, uint8(i), q.Kick); err != nil {
		return err
	}
	return f.enable(ctx, i, 1)
}

func (f *Frontend) setEvent(ctx context.Context, r Request, i uint8, e *eventfd.Event) error {
	if e == nil {
		return f.set(ctx, r, VringFD{Index: i, NoFD: true}.Append(nil))
	}
	rc, err := e.File().SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = rc.Control(func(fd uintptr) {
		sent = f.set(ctx, r, VringFD{Index: i}.Append(nil), int(fd))
	})
	return errors.Join(err, sent)
}

func (f *Frontend) enable(ctx context.Context, i, on uint32) error {
	if f.features&FeatureProtocolFeatures == 0 {
		return nil // enabled from its start
	}
	return f.set(ctx, SetVringEnable, VringState{i, on}.Append(nil))
}

// Stop takes all queues back and tells where each stood.
func (f *Frontend) Stop() (bases []uint16, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx := context.Background()
	n := f.rings
	f.rings = 0
	for i := range uint32(n) {
		if err := f.enable(ctx, i, 0); err != nil {
			return nil, err
		}
		b, err := f.call(ctx, GetVringBase, VringState{Index: i}.Append(nil))
		if err != nil {
			return nil, err
		}
		v, err := ParseVringState(b)
		if err != nil || v.Index != i || v.Num > 0xffff {
			return nil, errors.Join(fmt.Errorf("vhostuser: queue %d: the back-end does not tell where it stopped", i), err)
		}
		bases = append(bases, uint16(v.Num))
	}
	return bases, nil
}

// Wait returns when the session has ended, and tells why: net.ErrClosed after Close.
func (f *Frontend) Wait() error {
	<-f.done
	return f.err
}

// Close ends the session. What others are about then fails.
func (f *Frontend) Close() error {
	f.end(fmt.Errorf("vhostuser: session: %w", net.ErrClosed))
	<-f.reader
	return nil
}

// end ends the session. The first reason given is the one.
func (f *Frontend) end(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.done)
		_ = f.conn.Close()
	})
}

// set needs mu. It makes a request that has no answer of its own, and waits for
// the acknowledgement if the back-end gives one.
func (f *Frontend) set(ctx context.Context, r Request, payload []byte, fds ...int) error {
	acked := f.protocol&ProtocolReplyAck != 0
	h := Header{Request: r, Flags: version}
	if acked {
		h.Flags |= flagNeedReply
	}
	b, err := f.request(ctx, h, payload, fds, acked)
	if err != nil || !acked {
		return err
	}
	status, err := ParseU64(b)
	if err == nil && status != 0 {
		err = fmt.Errorf("vhostuser: %v: the back-end refuses it, with status %d", r, status)
	}
	return err
}

// call needs mu. It makes a request that has an answer of its own.
func (f *Frontend) call(ctx context.Context, r Request, payload []byte) ([]byte, error) {
	return f.request(ctx, Header{Request: r, Flags: version}, payload, nil, true)
}

func (f *Frontend) getU64(ctx context.Context, r Request) (uint64, error) {
	b, err := f.call(ctx, r, nil)
	if err != nil {
		return 0, err
	}
	return ParseU64(b)
}

// request needs mu. It sends a request and waits for its answer. If none comes
// in time, the session is over: a late answer would be taken for the next one's.
func (f *Frontend) request(ctx context.Context, h Header, payload []byte, fds []int, answered bool) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, ReplyTimeout, os.ErrDeadlineExceeded)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() {
		f.end(fmt.Errorf("vhostuser: %v: the back-end does not answer: %w", h.Request, context.Cause(ctx)))
	})
	defer unhook()

	h.Size = uint32(len(payload))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	f.waiting.Store(answered)
	if _, _, err := f.conn.WriteMsgUnix(append(h.Append(nil), payload...), oob, nil); err != nil {
		f.end(fmt.Errorf("vhostuser: %v: %w", h.Request, err))
		return nil, f.Wait()
	}
	if !answered {
		return nil, nil
	}
	select {
	case m := <-f.answers:
		if m.Request != h.Request || m.Flags != version|flagReply {
			f.end(fmt.Errorf("vhostuser: %v: the back-end answers with %v, flags %#x", h.Request, m.Request, m.Flags))
			return nil, f.Wait()
		}
		return m.payload, nil
	case <-f.done:
		return nil, f.Wait()
	}
}

// read hands the back-end's answers to the requests that wait for them, and
// learns when the back-end goes away.
func (f *Frontend) read() {
	defer close(f.reader)
	r := newReceiver(f.conn)
	for {
		var m message
		err := r.next(&m)
		m.closeFDs() // no answer that we ask for brings any
		if err != nil {
			f.end(fmt.Errorf("vhostuser: the back-end went away: %w", err))
			return
		}
		if !f.waiting.Swap(false) {
			f.end(fmt.Errorf("vhostuser: the back-end answers what nobody asked, with %v", m.Request))
			return
		}
		m.payload = bytes.Clone(m.payload)
		select {
		case f.answers <- m:
		case <-f.done:
			return
		}
	}
}
