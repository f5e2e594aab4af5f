package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

// bed is a switch: forwards run on the host's context, which is also their stack
// for vsock:, and the context of CID 3 is their "kernel".
type bed struct {
	*testing.T
	sw    *vswitch.Switch
	guest *vswitch.Context
	dir   string
}

const guestCID = 3

func newBed(t *testing.T) *bed {
	t.Helper()
	sw := vswitch.New(vswitch.Config{})
	t.Cleanup(func() { _ = sw.Close() })
	guest, err := sw.AddContext(vswitch.ContextConfig{CID: guestCID})
	if err != nil {
		t.Fatal(err)
	}
	return &bed{T: t, sw: sw, guest: guest, dir: t.TempDir()}
}

// stack never gives the kernel's.
func (b *bed) stack(k Kind) (vsock.Stack, error) {
	if k == Kernel {
		return b.guest, nil
	}
	return b.sw.Host(), nil
}

func spec(t testing.TB, text string) Spec {
	t.Helper()
	s, err := ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs a forward; set changes its configuration.
func (b *bed) start(text string, set ...func(*Config)) *Forwarder {
	b.Helper()
	c := Config{Spec: spec(b, text), Stack: b.stack}
	for _, f := range set {
		f(&c)
	}
	f, err := Start(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

// froms are the texts of places to listen at, by kind.
func (b *bed) froms() map[Kind]string {
	return map[Kind]string{
		TCP:    "tcp:0",
		Unix:   "unix:" + filepath.Join(b.dir, "from.sock"),
		Vsock:  "vsock:any:any",
		Kernel: "kernel:any:any",
		Host:   "host:7000",
	}
}

// dial connects to a forward as a client.
func (b *bed) dial(f *Forwarder) relay.Conn {
	b.Helper()
	c, err := b.tryDial(f)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		b.Fatal(err)
	}
	return c
}

func (b *bed) tryDial(f *Forwarder) (relay.Conn, error) {
	switch a := f.Addr().(type) {
	case vsock.Addr:
		if f.Spec().From.Kind == Kernel {
			return vsock.Dial(b.Context(), b.sw.Host(), vsock.Addr{CID: guestCID, Port: a.Port})
		}
		return vsock.Dial(b.Context(), b.guest, vsock.Addr{CID: vsock.CIDHost, Port: a.Port})
	default:
		// A socket that was renamed has its old name in its address.
		from := f.Spec().From
		if from.Kind == TCP {
			from.Address = a.String()
		}
		c, err := net.Dial(string(from.Kind), from.Address)
		if err != nil {
			return nil, err
		}
		return c.(relay.Conn), nil
	}
}

// server listens at a place of a kind, and gives the text of that place.
func (b *bed) server(k Kind) (net.Listener, string) {
	b.Helper()
	var l net.Listener
	var err error
	switch k {
	case TCP:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	case Unix:
		l, err = net.Listen("unix", filepath.Join(b.dir, "to.sock"))
	case Vsock:
		l, err = vsock.Listen(b.Context(), b.guest, vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	case Kernel, Host: // the "kernel" is the guest, which reaches the host
		l, err = vsock.Listen(b.Context(), b.sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: vsock.PortAny})
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	switch a := l.Addr().(type) {
	case vsock.Addr:
		if k == Host {
			a.CID = vsock.CIDHost
			return l, strings.Replace(a.String(), "2:", "host:", 1)
		}
		if k == Vsock {
			a.CID = guestCID
		}
		return l, string(k) + ":" + a.String()
	default:
		return l, string(k) + ":" + a.String()
	}
}

// accept takes one connection.
func (b *bed) accept(l net.Listener) relay.Conn {
	b.Helper()
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		b.Fatal(err)
	}
	return c.(relay.Conn)
}

// serve answers every connection with what came in, once all of it has.
func (b *bed) serve(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, err := io.ReadAll(c)
				if err == nil {
					_, _ = c.Write(all)
				}
			}()
		}
	}()
}

// echoed sends something, ends, and checks the answer.
func echoed(c relay.Conn, question []byte) error {
	if _, err := c.Write(question); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(answer, question):
		return errors.New("the answer differs")
	}
	return c.Close()
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// pattern is data in which no block is like another.
func pattern(n int) []byte {
	p := make([]byte, n)
	x := uint32(2463534242)
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x)
	}
	return p
}

// isReset checks that a client of TCP is told that it was not served. The reset may
// come while it still connects.
func (b *bed) isReset(f *Forwarder) {
	b.Helper()
	c, err := b.tryDial(f)
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		b.Errorf("%v, want ECONNRESET", err)
	}
}
