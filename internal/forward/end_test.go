package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

func TestDrain(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	f := b.start("tcp:0=" + text)
	client, server := b.dial(f), b.accept(l)
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Drain(now); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 connections have not ended") {
		t.Errorf("%v", err)
	}
	if c, err := b.tryDial(f); err == nil {
		_ = c.Close()
		t.Error("it listens while it drains")
	}
	// What is there goes on.
	done := make(chan error, 1)
	go func() { done <- f.Drain(t.Context()) }()
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Error(err)
	}
	if n, err := server.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_ = client.Close()
	_ = server.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := f.Wait(); err != nil {
		t.Error(err)
	}
}

// TestCloseWhileBusy closes under running transfers.
func TestCloseWhileBusy(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, Vsock}, {Host, TCP}, {TCP, TCP}, {Unix, TCP}, {Unix, Unix}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			f := b.start(b.froms()[pair[0]] + "=" + text)
			var all sync.WaitGroup
			for range 4 {
				client, server := b.dial(f), b.accept(l)
				for _, c := range []relay.Conn{client, server} {
					all.Go(func() { _, _ = io.Copy(struct{ io.Writer }{io.Discard}, c) })
					all.Go(func() {
						for p := make([]byte, 64<<10); ; {
							if _, err := c.Write(p); err != nil {
								return
							}
						}
					})
				}
			}
			eventually(t, "traffic", func() bool { return f.Counters().Sent > 1<<20 })
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			all.Wait()
			if c := f.Counters(); c.Active != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestCutShort resets the far end in the middle of an answer: the client must not
// take it for a whole one.
func TestCutShort(t *testing.T) {
	b := newBed(t)
	guest, err := b.sw.AddContext(vswitch.ContextConfig{CID: 9})
	if err != nil {
		t.Fatal(err)
	}
	l, err := vsock.Listen(t.Context(), guest, vsock.Addr{CID: vsock.CIDAny, Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	f := b.start("tcp:0=vsock:9:1")
	client, server := b.dial(f), b.accept(l)
	if _, err := io.WriteString(server, "half an ans"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the half", func() bool { return f.Counters().Received > 0 })
	if err := guest.Close(); err != nil { // as if it was switched off
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v; want ECONNRESET", got, err)
	}
}

// TestEarlyAnswer has a server that stops reading, and then answers.
func TestEarlyAnswer(t *testing.T) {
	b := newBed(t)
	l, text := b.server(Vsock)
	f := b.start("unix:" + filepath.Join(b.dir, "s") + "=" + text)
	client, server := b.dial(f), b.accept(l)
	if err := server.CloseRead(); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := client.Write(make([]byte, 1000)); err != nil {
			if !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%v, want EPIPE", err)
			}
			break
		}
	}
	if _, err := io.WriteString(server, "too much"); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	if got, err := io.ReadAll(client); string(got) != "too much" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestIdleTimeout(t *testing.T) {
	for _, pair := range [][2]Kind{{TCP, TCP}, {Host, Unix}} {
		t.Run(fmt.Sprintf("%s-%s", pair[0], pair[1]), func(t *testing.T) {
			b := newBed(t)
			l, text := b.server(pair[1])
			f := b.start(b.froms()[pair[0]]+"="+text, func(c *Config) { c.IdleTimeout = 200 * time.Millisecond })
			client, server := b.dial(f), b.accept(l)
			begun := time.Now()
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			// One byte at a time keeps it.
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range 8 {
				<-tick.C
				if _, err := server.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := io.ReadAll(client)
			if took := time.Since(begun); len(got) != 8 || took < 600*time.Millisecond {
				t.Errorf("%d bytes, ended after %v", len(got), took)
			}
		})
	}
}
