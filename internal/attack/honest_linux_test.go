//go:build !race

package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"vsockets.dev/internal/attach"
	"vsockets.dev/vsock"
)

// honest are two contexts, a and b, that keep to the rules: what a sends to the host, and
// b to a, and the calls that a makes at the host.
type honest struct {
	a, b  *attach.Stack
	flows []*transfer
	calls atomic.Uint64
	stop  atomic.Bool
	all   sync.WaitGroup

	mu     sync.Mutex
	errors []string
}

const (
	flowPort = 6000
	callPort = 6001

	// callSize is what goes each way in a call.
	callSize = 2000

	// callPause is between two calls, which are there to see whether they succeed.
	callPause = 2 * time.Millisecond
)

// transfer is an endless stream of which each byte is checked.
type transfer struct {
	name     string
	sent     uint64 // by its one sender
	received atomic.Uint64
}

func newHonest(ctx context.Context, host vsock.Stack, path string) (*honest, error) {
	h := new(honest)
	var err error
	if h.a, err = join(ctx, path); err != nil {
		return nil, err
	}
	if h.b, err = join(ctx, path); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name     string
		from, to vsock.Stack
	}{{"a to the host", h.a, host}, {"b to a", h.b, h.a}} {
		if err := h.begin(ctx, f.name, f.from, f.to); err != nil {
			return nil, err
		}
	}
	ln, err := vsock.Listen(ctx, host, vsock.Addr{CID: vsock.CIDAny, Port: callPort})
	if err != nil {
		return nil, err
	}
	go answer(ln)
	h.all.Go(func() { h.call(ctx) })
	return h, nil
}

func (h *honest) begin(ctx context.Context, name string, from, to vsock.Stack) error {
	ln, err := vsock.Listen(ctx, to, vsock.Addr{CID: vsock.CIDAny, Port: flowPort})
	if err != nil {
		return err
	}
	cid, err := to.LocalCID()
	if err != nil {
		return err
	}
	out, err := vsock.Dial(ctx, from, vsock.Addr{CID: cid, Port: flowPort})
	if err != nil {
		return err
	}
	in, err := ln.AcceptConn()
	if err != nil {
		return err
	}
	f := &transfer{name: name}
	h.flows = append(h.flows, f)
	h.all.Go(func() { h.fail(name, f.send(out, &h.stop)) })
	h.all.Go(func() { h.fail(name, f.receive(in)) })
	return nil
}

// pattern is random bytes that repeat; its length is prime to that of blocks.
var pattern = func() []byte {
	b := make([]byte, 1<<18+blockSize)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	copy(b[patternSize:], b)
	return b
}()

const (
	blockSize   = 64 << 10
	patternSize = 1<<18 - 5
)

func (f *transfer) send(c *vsock.Conn, stop *atomic.Bool) error {
	for !stop.Load() {
		if _, err := c.Write(pattern[f.sent%patternSize:][:blockSize]); err != nil {
			return err
		}
		f.sent += blockSize
	}
	return c.CloseWrite()
}

func (f *transfer) receive(c *vsock.Conn) error {
	b := make([]byte, blockSize)
	for {
		n, err := c.Read(b)
		at := f.received.Load()
		if !bytes.Equal(b[:n], pattern[at%patternSize:][:n]) {
			return fmt.Errorf("another byte than was sent, in %d at %d", n, at)
		}
		f.received.Add(uint64(n))
		if errors.Is(err, io.EOF) {
			return c.Close()
		}
		if err != nil {
			return err
		}
	}
}

// call connects, asks, is answered, and closes, over and over.
func (h *honest) call(ctx context.Context) {
	for !h.stop.Load() {
		if err := h.callOnce(ctx); err != nil {
			h.fail("call", err)
			return
		}
		h.calls.Add(1)
		<-time.After(callPause)
	}
}

func (h *honest) callOnce(ctx context.Context) error {
	c, err := vsock.Dial(ctx, h.a, vsock.Addr{CID: vsock.CIDHost, Port: callPort})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		return err
	}
	if _, err := c.Write(pattern[:callSize]); err != nil {
		return err
	}
	got := make([]byte, callSize)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, pattern[:callSize]) {
		return fmt.Errorf("the answer is another")
	}
	return nil
}

func answer(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

func (h *honest) fail(what string, err error) {
	if err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errors = append(h.errors, fmt.Sprintf("%s: %v", what, err))
}

func (h *honest) failed() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.errors
}

func (h *honest) counts() []uint64 {
	var n []uint64
	for _, f := range h.flows {
		n = append(n, f.received.Load())
	}
	return n
}

// end ends the transfers, and checks that all that was sent has come.
func (h *honest) end() {
	h.stop.Store(true)
	h.all.Wait()
	for _, f := range h.flows {
		if got := f.received.Load(); got != f.sent {
			h.fail(f.name, fmt.Errorf("%d bytes arrived, %d were sent", got, f.sent))
		}
	}
}
