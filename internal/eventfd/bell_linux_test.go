package eventfd

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// brim is what fills the counter of an eventfd to where a write of 1 blocks.
var brim = binary.LittleEndian.AppendUint64(nil, math.MaxUint64-1)

// hostile is the other side of a bell: the same file, by a descriptor of its own.
type hostile struct {
	t  testing.TB
	fd int
}

func newHostile(t testing.TB) (*hostile, *Bell) {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	own, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBell(own)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{t, fd}
	t.Cleanup(func() {
		_ = b.Close()
		_ = unix.Close(fd)
	})
	return h, b
}

// block clears the flag, fill fills the counter, so that it would block.
func (h *hostile) block() { _ = unix.SetNonblock(h.fd, false) }

func (h *hostile) fill() {
	if _, err := unix.Write(h.fd, brim); err != nil {
		h.t.Error(err)
	}
}

// ring rings a bell until it is found to be jammed, and tells how long the longest ring
// took.
func ring(t *testing.T, b *Bell) (longest time.Duration) {
	t.Helper()
	done := make(chan struct{})
	limit := time.AfterFunc(20*time.Second, func() { panic("Signal does not return") })
	defer limit.Stop()
	go func() {
		defer close(done)
		for {
			start := time.Now()
			err := b.Signal()
			longest = max(longest, time.Since(start))
			if err != nil {
				if !errors.Is(err, ErrJammed) {
					t.Errorf("Signal: %v", err)
				}
				return
			}
		}
	}()
	<-done
	return longest
}

// TestJammed has the other side make a write block.
func TestJammed(t *testing.T) {
	h, b := newHostile(t)
	if err := b.Signal(); err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Read(h.fd, make([]byte, 8))
	h.fill()
	h.block()
	longest := ring(t, b)
	t.Logf("free after %v", longest)
	for range 10 {
		if err := b.Signal(); !errors.Is(err, ErrJammed) {
			t.Errorf("Signal of a jammed bell: %v", err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestJammedAtAnyTime has the other side change the flag all the time, so that it is
// never known what a write will find, also not the one that frees.
func TestJammedAtAnyTime(t *testing.T) {
	for range 20 {
		h, b := newHostile(t)
		h.fill()
		var stop atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for !stop.Load() {
					_ = unix.SetNonblock(h.fd, true)
					h.block()
				}
			})
		}
		longest := ring(t, b)
		stop.Store(true)
		wg.Wait()
		t.Logf("free after %v", longest)
	}
}

// TestFullIsNotJammed has a counter be full, and the flag as it should be.
func TestFullIsNotJammed(t *testing.T) {
	h, b := newHostile(t)
	h.fill()
	for range 1000 {
		if err := b.Signal(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJammedSocket fills a socket in place of an eventfd.
func TestJammedSocket(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBell(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := unix.SetNonblock(pair[0], false); err != nil { // as the other side could
		t.Fatal(err)
	}
	for range 100_000 { // a socket holds some hundred
		if err := b.Signal(); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 16)
	if n, err := unix.Read(pair[1], got); n < 8 || err != nil || got[0] != 1 {
		t.Errorf("the other side reads %v, %v", got[:max(n, 0)], err)
	}
	_ = unix.Close(pair[1])
	if err := b.Signal(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("Signal to nobody: %v", err)
	}
}

// TestGuardRests looks at what the guard does when nothing is rung.
func TestGuardRests(t *testing.T) {
	_, b := newHostile(t)
	for range 3 {
		if err := b.Signal(); err != nil {
			t.Fatal(err)
		}
		limit := time.After(10 * time.Second)
		for rests := false; !rests; {
			guard.mu.Lock()
			rests = !guard.runs && len(guard.list) == 0 && !b.watched.Load()
			guard.mu.Unlock()
			select {
			case <-time.After(time.Millisecond):
			case <-limit:
				t.Fatal("the guard goes on")
			}
		}
	}
}
