package channel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair joins two Conns by pipes that count how much is under way.
func pair(t *testing.T) (host, guest *Conn, toGuest *countingPipe, stop func()) {
	t.Helper()
	toGuest, toHost := newCountingPipe(), newCountingPipe()
	host = New(toHost, toGuest, WindowToGuest, WindowToHost)
	guest = New(toGuest, toHost, WindowToHost, WindowToGuest)
	return host, guest, toGuest, func() { toGuest.Close(); toHost.Close() }
}

// countingPipe is an endless buffer that remembers its highest fill: what the
// serial line would have had to hold.
type countingPipe struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    bytes.Buffer
	high   int
	closed bool
}

func newCountingPipe() *countingPipe {
	p := &countingPipe{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *countingPipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, os.ErrClosed
	}
	p.buf.Write(b)
	p.high = max(p.high, p.buf.Len())
	p.cond.Signal()
	return len(b), nil
}

func (p *countingPipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.buf.Len() == 0 && !p.closed {
		p.cond.Wait()
	}
	return p.buf.Read(b)
}

func (p *countingPipe) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.cond.Broadcast()
}

func TestMessagesStayWholeAndWithinTheWindow(t *testing.T) {
	host, guest, toGuest, stop := pair(t)
	const senders = 8
	body := func(id uint32) []byte { return bytes.Repeat([]byte{byte(id)}, 40_000+int(id)) }

	var wg sync.WaitGroup
	for id := range uint32(senders) {
		wg.Go(func() {
			if err := host.Send(KindCall, id, body(id)); err != nil {
				t.Errorf("Send %d: %v", id, err)
			}
		})
	}
	wg.Go(func() { // takes the guest's credit frames in
		if _, err := host.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("host: Receive: %v, want io.EOF", err)
		}
	})
	for range senders {
		m, err := guest.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != KindCall || !bytes.Equal(m.Body, body(m.ID)) {
			t.Errorf("message %d: kind %d, %d bytes, not what was sent", m.ID, m.Kind, len(m.Body))
		}
	}
	stop()
	wg.Wait()
	if toGuest.high > WindowToGuest {
		t.Errorf("%d bytes were under way, the window is %d", toGuest.high, WindowToGuest)
	}
}

func TestSendWaitsForCreditAndEndsWithTheLine(t *testing.T) {
	host, _, toGuest, stop := pair(t)
	sent := make(chan error, 1)
	go func() { sent <- host.Send(KindCall, 1, make([]byte, 10*WindowToGuest)) }()
	stop()
	if _, err := host.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("Receive: %v, want io.EOF", err)
	}
	if err := <-sent; err == nil {
		t.Error("Send of more than the window succeeded with nobody to take it")
	}
	if toGuest.high > WindowToGuest {
		t.Errorf("%d bytes sent without credit, the window is %d", toGuest.high, WindowToGuest)
	}
}

func TestReceiveRefuses(t *testing.T) {
	var frames, endless []byte
	for i := range uint32(maxPartial + 1) {
		f := frame{kind: KindCall, id: i}
		frames = f.append(frames)
	}
	for range MaxMessage/MaxPayload + 1 {
		f := frame{kind: KindCall, payload: make([]byte, MaxPayload)}
		endless = f.append(endless)
	}
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a header", []byte{1, 1, 0}, io.ErrUnexpectedEOF},
		{"half a payload", []byte{1, 1, 2, 0, 0, 0, 0, 0, 'x'}, io.ErrUnexpectedEOF},
		{"unknown kind", []byte{99, 1, 0, 0, 0, 0, 0, 0}, errFrame},
		{"unknown flags", []byte{1, 2, 0, 0, 0, 0, 0, 0}, errFrame},
		{"payload too long", []byte{1, 1, 1, 4, 0, 0, 0, 0}, errFrame},
		{"credit for nothing sent", []byte{255, 1, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0}, errFrame},
		{"credit of 3 bytes", []byte{255, 1, 3, 0, 0, 0, 0, 0, 1, 0, 0}, errFrame},
		{"too many begun", frames, errFrame},
		{"endless message", endless, errFrame},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := New(bytes.NewReader(tt.in), io.Discard, WindowToGuest, WindowToHost)
			if m, err := c.Receive(); !errors.Is(err, tt.want) {
				t.Errorf("Receive = %+v, %v; want %v", m, err, tt.want)
			}
		})
	}
}

func TestErrorCrosses(t *testing.T) {
	if e := NewError(nil); e != nil {
		t.Errorf("NewError(nil) = %v", e)
	}
	e := NewError(fmt.Errorf("dial: %w", os.NewSyscallError("connect", syscall.ECONNRESET)))
	if !errors.Is(e, syscall.ECONNRESET) || errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("%v (errno %d) is not ECONNRESET alone", e, e.Errno)
	}
	if e := NewError(io.EOF); errors.Unwrap(e) != nil {
		t.Errorf("%v has an errno", e)
	}
}

func FuzzReceive(f *testing.F) {
	good := frame{kind: KindResult, last: true, id: 7, payload: []byte(`{"exit":1}`)}
	f.Add(good.append(nil))
	f.Add([]byte{255, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{17, 0, 1, 0, 0, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, in []byte) {
		c := New(bytes.NewReader(in), io.Discard, WindowToHost, WindowToGuest)
		for {
			m, err := c.Receive()
			if err != nil {
				return
			}
			if len(m.Body) > len(in) {
				t.Fatalf("message of %d bytes from %d", len(m.Body), len(in))
			}
		}
	})
}
