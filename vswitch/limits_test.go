package vswitch

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vsockets.dev/internal/packet"
	"vsockets.dev/vsock"
)

func TestLimitsDefaults(t *testing.T) {
	got := Limits{HalfOpen: -1, ByteRate: 5}.withDefaults()
	want := Limits{
		Connections: DefaultConnections, HalfOpen: -1, Buffered: DefaultBuffered, BufAlloc: DefaultBufAlloc, ByteRate: 5,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	sw := New(Config{})
	defer sw.Close()
	if _, err := sw.AddContext(ContextConfig{CID: 3, Limits: Limits{BufAlloc: packet.MaxPayload - 1}}); err == nil || !strings.Contains(err.Error(), "BufAlloc") {
		t.Errorf("a small BufAlloc: %v", err)
	}
}

// TestLimitConnections refuses further connections, until one ends.
func TestLimitConnections(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	ctx, err := sw.AddContext(ContextConfig{CID: 3, Limits: Limits{Connections: 2}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := vsock.Listen(t.Context(), sw.Host(), vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := vsock.Addr{CID: vsock.CIDHost, Port: 1024}
	var last io.Closer
	for range 2 {
		c, err := vsock.Dial(t.Context(), ctx, to)
		if err != nil {
			t.Fatal(err)
		}
		last = c
	}
	if _, err := vsock.Dial(t.Context(), ctx, to); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the third: %v", err)
	}
	back, err := vsock.Listen(t.Context(), ctx, vsock.Addr{CID: vsock.CIDAny, Port: 1024})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if _, err := vsock.Dial(t.Context(), sw.Host(), vsock.Addr{CID: 3, Port: 1024}); err != nil {
		t.Errorf("one that the host opens: %v", err)
	}
	if i := ctx.port.info(); i.Connections != 2 || i.HalfOpen != 0 || i.Counters.Limited != 1 {
		t.Errorf("info: %+v", i)
	}
	_ = last.Close()
	if _, err := vsock.Dial(t.Context(), ctx, to); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

// TestHalfOpen counts requests that nobody answers, until they are too old.
func TestHalfOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var f flows
		l := Limits{Connections: 10, HalfOpen: 3}
		k := func(port uint32) flow { return flow{port, 4, 80} }
		ask := func(port uint32, want bool) {
			t.Helper()
			if got, _ := f.request(k(port), &l); got != want {
				t.Errorf("request %d: %v", port, got)
			}
		}
		count := func(all, half int) {
			t.Helper()
			if a, h := f.count(); a != all || h != half {
				t.Errorf("%d connections, %d half-open; want %d, %d", a, h, all, half)
			}
		}
		ask(1, true)
		<-time.After(halfOpenTimeout / 2)
		ask(2, true)
		ask(3, true)
		ask(4, false)
		ask(3, true) // it is there already
		count(3, 3)
		for range 2 {
			if !f.answer(k(3)) {
				t.Error("3 was not asked for")
			}
		}
		if f.answer(k(9)) {
			t.Error("9 was asked for")
		}
		count(3, 2)
		ask(4, true)
		<-time.After(halfOpenTimeout/2 - 1)
		ask(5, false)
		<-time.After(1)
		ask(5, true) // in place of 1
		if f.answer(k(1)) || f.end(k(1)) {
			t.Error("1 is not forgotten")
		}
		count(4, 3)
		<-time.After(halfOpenTimeout)
		ask(6, true)
		count(2, 1) // 3, which is open however old it is, and 6
		if !f.end(k(6)) || f.end(k(6)) || !f.end(k(3)) {
			t.Error("ends")
		}
		count(0, 0)
		for port := range uint32(3) {
			ask(port, true)
			f.answer(k(port))
		}
		ended := f.endAll(func(k flow) bool { return k.port != 1 })
		if len(ended) != 2 {
			t.Errorf("ended: %v", ended)
		}
		count(1, 0)
		l.Connections = 1
		ask(7, false)
	})
}

// TestHalfOpenAtPort has answers and RST end what counts.
func TestHalfOpenAtPort(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	a, b := joinFake(t, sw, 3, Limits{HalfOpen: 2}), joinFake(t, sw, 4, Limits{})
	for port := range uint32(3) {
		a.send(t, b, packet.OpRequest, port, 80, "")
	}
	if got := a.take(); ops(got) != "RST" || got[0].DstPort != 2 {
		t.Errorf("beyond the limit: %v", got)
	}
	b.send(t, a, packet.OpResponse, 80, 0, "")
	b.send(t, a, packet.OpResponse, 80, 9, "") // that nobody asked for
	if got := b.take(); ops(got) != "REQUEST, REQUEST, RST" {
		t.Errorf("the acceptor gets %q", ops(got))
	}
	if i := a.port.info(); i.Connections != 2 || i.HalfOpen != 1 || i.Counters.Limited != 1 {
		t.Errorf("info: %+v", i)
	}
	if n := b.port.info().Counters.Unsolicited; n != 1 {
		t.Errorf("unsolicited: %d", n)
	}
	a.send(t, b, packet.OpReset, 0, 80, "")
	b.send(t, a, packet.OpReset, 80, 1, "")
	if i := a.port.info(); i.Connections != 0 || i.HalfOpen != 0 {
		t.Errorf("in the end: %+v", i)
	}
}

// TestBufAllocClamp looks at what the other side sees.
func TestBufAllocClamp(t *testing.T) {
	for _, tc := range []struct {
		limit      int
		sent, want uint32
	}{
		{0, 1 << 18, 1 << 18},
		{0, DefaultBufAlloc, DefaultBufAlloc},
		{0, DefaultBufAlloc + 1, DefaultBufAlloc},
		{0, 1<<32 - 1, DefaultBufAlloc},
		{packet.MaxPayload, 1 << 18, packet.MaxPayload},
		{-1, 1<<32 - 1, 1<<32 - 1},
	} {
		sw := New(Config{})
		a, b := joinFake(t, sw, 3, Limits{BufAlloc: tc.limit}), joinFake(t, sw, 4, Limits{})
		for _, op := range []packet.Op{packet.OpRequest, packet.OpCreditUpdate, packet.OpRW} {
			p := &packet.Packet{Header: packet.Header{SrcCID: 3, DstCID: 4, Type: packet.TypeStream, Op: op, BufAlloc: tc.sent}}
			a.port.Take(p, never{t})
			if got := b.take(); len(got) != 1 || got[0].BufAlloc != tc.want {
				t.Errorf("limit %d, %v: %d becomes %v, want %d", tc.limit, op, tc.sent, got, tc.want)
			}
		}
		_ = sw.Close()
	}
}

// wakes is told when a packet may go.
type wakes chan struct{}

func (w wakes) Wake() { w <- struct{}{} }

func TestBucket(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits Limits
		size   int
		burst  int           // packets that go at once
		each   time.Duration // and then one in so long
	}{
		{"packets", Limits{PacketRate: 100}, 1000, 10, 10 * time.Millisecond},
		{"few packets", Limits{PacketRate: 2}, 1000, 1, 500 * time.Millisecond},
		{"bytes", Limits{ByteRate: 10 << 20}, packet.MaxPayload, 16, 6250 * time.Microsecond},
		{"few bytes", Limits{ByteRate: 1 << 16}, packet.MaxPayload, 1, time.Second},
		{"both, packets count", Limits{PacketRate: 100, ByteRate: 1 << 30}, 1000, 10, 10 * time.Millisecond},
		{"both, bytes count", Limits{PacketRate: 1 << 30, ByteRate: 10 << 20}, packet.MaxPayload, 16, 6250 * time.Microsecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := newBucket(tc.limits)
				w := make(wakes, 100)
				for i := range tc.burst {
					if !b.take(tc.size, w) {
						t.Fatalf("packet %d of a burst of %d", i, tc.burst)
					}
				}
				for range 5 {
					start := time.Now()
					for range 2 { // it waits once, however often it tries
						if b.take(tc.size, w) {
							t.Fatal("it goes on, beyond the burst")
						}
					}
					<-w
					synctest.Wait()
					if d := time.Since(start); d < tc.each-time.Microsecond || d > tc.each+time.Millisecond {
						t.Errorf("after %v, want %v", d, tc.each)
					}
					if len(w) != 0 || !b.take(tc.size, w) {
						t.Errorf("woken %d times more, and it may not go", len(w))
					}
				}
				<-time.After(time.Hour)
				n := 0
				for ; b.take(tc.size, w); n++ {
				}
				if n != tc.burst {
					t.Errorf("a burst of %d after an hour, want %d", n, tc.burst)
				}
				b.stop()
				if len(w) != 1 || !b.take(tc.size, w) {
					t.Error("who waits is not let go in the end")
				}
			})
		})
	}
	if newBucket(Limits{}) != nil || newBucket(Limits{PacketRate: -1, ByteRate: -1}) != nil {
		t.Error("a bucket without a rate")
	}
}

// TestBucketDebt has others provoke any number of answers in a context's name: they do
// not silence it.
func TestBucketDebt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := newBucket(Limits{PacketRate: 10, ByteRate: 1 << 20})
		for range 100000 {
			if !b.take(packet.MaxPayload, nil) {
				t.Fatal("an answer that nobody sends again is refused")
			}
		}
		w := make(wakes, 100)
		start := time.Now()
		for !b.take(100, w) {
			<-w
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("it may send again after %v", d)
		}
	})
}

// TestLimitedRate moves data from and to a context that is held back: all of it
// arrives, and not before its time.
func TestLimitedRate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		sw := New(Config{})
		defer sw.Close()
		const rate, n = 1 << 20, 4 << 20
		ctx, err := sw.AddContext(ContextConfig{CID: 3, Limits: Limits{ByteRate: rate}})
		if err != nil {
			t.Fatal(err)
		}
		c, s, err := connect(t, sw, from(t, ctx))
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("0123456789abcde\n"), n/16)
		start := time.Now()
		go func() {
			_, _ = c.Write(data)
			_ = c.Close()
		}()
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes arrive, %v", len(got), err)
		}
		if d := time.Since(start); d < 3500*time.Millisecond || d > 4500*time.Millisecond {
			t.Errorf("%d bytes at %d a second in %v", n, rate, d)
		}
		_ = s.Close()
	})
}

// TestRateLifted lets those go at once who wait when the limit goes.
func TestRateLifted(t *testing.T) {
	sw := New(Config{})
	defer sw.Close()
	ctx, err := sw.AddContext(ContextConfig{CID: 3, Limits: Limits{ByteRate: 1}})
	if err != nil {
		t.Fatal(err)
	}
	c, s, err := connect(t, sw, from(t, ctx))
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 4*packet.MaxPayload)
	var sent sync.WaitGroup
	sent.Go(func() {
		if _, err := c.Write(data); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
	if _, err := io.ReadFull(s, make([]byte, packet.MaxPayload)); err != nil { // the burst
		t.Fatal(err)
	}
	if err := ctx.port.setLimits(Limits{BufAlloc: 1}); err == nil {
		t.Error("bad limits are taken")
	}
	if err := ctx.port.setLimits(Limits{}); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(s)
	if len(got) != 3*packet.MaxPayload || err != nil {
		t.Errorf("%d bytes more, %v", len(got), err)
	}
	sent.Wait()
	_ = s.Close()
}

// TestMillionHalfOpen has a guest ask for a million connections that nobody answers, some
// of which it gives up. They take no more memory than the limit allows.
func TestMillionHalfOpen(t *testing.T) {
	const requests, mostBytes = 1_000_000, 1 << 20
	sw := New(Config{})
	defer sw.Close()
	a, b := joinFake(t, sw, 3, Limits{}), joinFake(t, sw, 4, Limits{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range uint32(requests) {
		a.send(t, b, packet.OpRequest, i, i%7, "")
		if i%100 == 99 {
			a.send(t, b, packet.OpReset, i/2, i/2%7, "")
		}
		if i%1000 == 0 {
			a.take()
			b.take()
		}
	}
	a.take()
	b.take()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > mostBytes {
		t.Errorf("they take %d bytes, want %d at most", n, mostBytes)
	}
	i := a.port.info()
	if i.HalfOpen > DefaultHalfOpen || i.Counters.Limited < requests-requests/100-DefaultHalfOpen {
		t.Errorf("%d are half-open, %d were refused", i.HalfOpen, i.Counters.Limited)
	}
}
