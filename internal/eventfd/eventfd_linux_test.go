package eventfd

import (
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"vsockets.dev/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestNoSignalLost plays ping-pong over two eventfds: a lost signal hangs it.
func TestNoSignalLost(t *testing.T) {
	const rounds = 20000
	ping, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer ping.Close()
	pong, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer pong.Close()

	var turn atomic.Int64
	go func() {
		for i := range int64(rounds) {
			if !ping.Wait(func() bool { return turn.Load() == 2*i+1 }) {
				t.Error("Wait was interrupted")
				return
			}
			turn.Add(1)
			_ = pong.Signal()
		}
	}()
	for i := range int64(rounds) {
		turn.Add(1)
		if err := ping.Signal(); err != nil {
			t.Fatal(err)
		}
		if !pong.Wait(func() bool { return turn.Load() == 2*i+2 }) {
			t.Fatal("Wait was interrupted")
		}
	}
}

func TestEnd(t *testing.T) {
	for name, end := range map[string]func(*Event){
		"interrupt": func(e *Event) { e.Interrupt() },
		"close":     func(e *Event) { _ = e.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			e, err := New()
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			asked, ended := make(chan struct{}, 1), make(chan bool)
			go func() {
				ended <- e.Wait(func() bool { asked <- struct{}{}; return false })
			}()
			<-asked
			end(e)
			if <-ended {
				t.Error("Wait says ready")
			}
			if e.Wait(func() bool { return false }) {
				t.Error("a later Wait says ready")
			}
		})
	}
}

// TestFullCounter has the peer fill the counter, where a plain write would block.
func TestFullCounter(t *testing.T) {
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	full := []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	if _, err := e.File().Write(full); err != nil {
		t.Fatal(err)
	}
	if err := e.Signal(); err != nil {
		t.Errorf("Signal: %v", err)
	}
}

func TestWrapNotPollable(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Wrap(fd); err == nil {
		t.Error("a regular file was taken for an eventfd")
	}
}

func BenchmarkSignal(b *testing.B) {
	e, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Signal()
	}
}
