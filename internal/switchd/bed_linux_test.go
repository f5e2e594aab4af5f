package switchd

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	vsockets "vsockets.dev"
	"vsockets.dev/vsock"
)

// limit is for everything that a test waits for.
const limit = 10 * time.Second

// bed is a daemon with paths of its own.
type bed struct {
	t   *testing.T
	d   *Daemon
	dir string
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

// parse reads a configuration in which $ stands for the bed's folder.
func (b *bed) parse(text string) Config {
	b.t.Helper()
	c, err := ParseFile(expand(text, b.dir))
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func newBed(t *testing.T, text string) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir()}
	var err error
	if b.d, err = Start(b.parse(text), Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, b.d) })
	return b
}

// closeNow ends a daemon without waiting for connections.
func closeNow(t *testing.T, d *Daemon) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func (b *bed) reload(text string) {
	b.t.Helper()
	if err := b.d.Reload(b.parse(text)); err != nil {
		b.t.Fatal(err)
	}
}

// boot has this process be the guest, or the process, that connects to a socket.
func boot(t *testing.T, path string) vsockets.Stack {
	t.Helper()
	s, err := vsockets.Open("switch:" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// echo serves a port.
func echo(t *testing.T, s vsock.Stack, port uint32) {
	t.Helper()
	l, err := vsock.Listen(t.Context(), s, vsock.Addr{CID: vsock.CIDAny, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.AcceptConn()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
}

func dial(t *testing.T, s vsock.Stack, cid, port uint32) *vsock.Conn {
	t.Helper()
	c, err := vsock.Dial(t.Context(), s, vsock.Addr{CID: cid, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask has an echo answer, once.
func ask(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(limit))
	const question = "question"
	if _, err := io.WriteString(c, question); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(question))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != question {
		t.Fatalf("%q, %v", answer, err)
	}
}

// context gives what there is about a CID.
func (b *bed) context(cid uint32) (Context, bool) {
	for _, c := range b.d.Contexts() {
		if c.CID == cid {
			return c, true
		}
	}
	return Context{}, false
}
