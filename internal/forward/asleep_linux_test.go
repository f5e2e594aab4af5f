package forward

import (
	"path/filepath"
	"testing"
	"time"

	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/packet"
	"vsockets.dev/vswitch"
)

// mute is the stack of a process that has joined the switch and never answers.
type mute struct{}

func (mute) Take(p *packet.Packet, _ packet.Waker) (int, bool) { return int(p.Len), true }

// TestDialAsleep dials a context that never answers: DialTimeout counts, not the
// connect timeout of vsock.
func TestDialAsleep(t *testing.T) {
	b := newBed(t)
	path := filepath.Join(b.dir, "guest")
	if _, err := b.sw.AddGuest(vswitch.GuestConfig{CID: 99, Socket: path}); err != nil {
		t.Fatal(err)
	}
	d, err := driver.Connect(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.Start(mute{}); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []time.Duration{300 * time.Millisecond, 2200 * time.Millisecond} {
		f := b.start("tcp:0=vsock:99:1", func(c *Config) { c.DialTimeout = limit })
		begun := time.Now()
		b.isReset(f)
		if took := time.Since(begun); took < limit || took > limit+time.Second {
			t.Errorf("given up after %v, want %v", took, limit)
		}
		if c := f.Counters(); c.DialFailed != 1 {
			t.Errorf("%+v", c)
		}
	}
}
