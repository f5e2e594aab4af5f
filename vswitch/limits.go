package vswitch

import (
	"fmt"
	"sync"
	"time"

	"vsockets.dev/internal/packet"
)

// Defaults of Limits.
const (
	DefaultConnections = 1024
	DefaultHalfOpen    = 256
	DefaultBuffered    = 64 << 20
	DefaultBufAlloc    = 1 << 20
)

// destinationShare is the part of a context's Buffered that may wait for one
// destination, so that one which has stopped leaves room for the others.
const destinationShare = 4

// Limits are what one context may take of the switch. A field that is 0 has its
// default, a negative one sets no limit. The host's context has none.
type Limits struct {
	// Connections is how many connections the context may have open of those that
	// it opened itself. A further one is refused. Default: DefaultConnections, 1024.
	Connections int `json:"connections,omitempty" toml:"connections,omitempty"`

	// HalfOpen is how many of these may wait for their answer. Default:
	// DefaultHalfOpen, 256.
	HalfOpen int `json:"half_open,omitempty" toml:"half-open,omitempty"`

	// Buffered is how many bytes that a guest sent to other guests may wait in the
	// switch, because those do not take them; for each of them, a quarter of it. With more
	// than 64 KiB it is held back for a while before. A connection that would exceed it
	// is reset. Default: DefaultBuffered, 64 MiB.
	Buffered int `json:"buffered,omitempty" toml:"buffered,omitempty"`

	// BufAlloc is the largest receive buffer of a connection, in bytes, that a guest
	// may announce to another: more is made this. Default: DefaultBufAlloc, 1 MiB.
	BufAlloc int `json:"buf_alloc,omitempty" toml:"buf-alloc,omitempty"`

	// PacketRate and ByteRate are how many packets, and bytes of payload, the
	// context may send in a second. One that is faster is slowed down. A tenth of
	// a second's worth may come at once. Default: no limit.
	PacketRate int `json:"packet_rate,omitempty" toml:"packet-rate,omitempty"`
	ByteRate   int `json:"byte_rate,omitempty" toml:"byte-rate,omitempty"`
}

// unlimited are the limits of the host.
var unlimited = Limits{Connections: -1, HalfOpen: -1, Buffered: -1, BufAlloc: -1}

// withDefaults fills in the defaults.
func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		v     *int
		value int
	}{
		{&l.Connections, DefaultConnections},
		{&l.HalfOpen, DefaultHalfOpen},
		{&l.Buffered, DefaultBuffered},
		{&l.BufAlloc, DefaultBufAlloc},
	} {
		if *f.v == 0 {
			*f.v = f.value
		}
	}
	return l
}

// check says what a field cannot be.
func (l Limits) check() error {
	if l.BufAlloc > 0 && l.BufAlloc < packet.MaxPayload {
		return fmt.Errorf("vswitch: limit BufAlloc is %d bytes; it must be %d at least, which is one packet", l.BufAlloc, packet.MaxPayload)
	}
	return nil
}

// over says whether n is more than a limit allows.
func over(n, limit int) bool { return limit >= 0 && n > limit }

// bucket is a token bucket: it holds back who sends faster than its rates.
type bucket struct {
	packets, bytes tokens

	mu      sync.Mutex
	waiters packet.Waiters
	timer   *time.Timer // runs while someone waits
}

// tokens are one of a bucket's two kinds. The bucket locks them.
type tokens struct {
	rate  float64 // a second; 0: no limit
	burst float64
	level float64
	last  time.Time
}

// burstTime is how long a rate can be saved up.
const burstTime = 100 * time.Millisecond

func newTokens(rate, least int) tokens {
	burst := max(float64(rate)*burstTime.Seconds(), float64(least))
	return tokens{rate: float64(max(rate, 0)), burst: burst, level: burst, last: time.Now()}
}

// newBucket gives nil where there is no limit.
func newBucket(l Limits) *bucket {
	if l.PacketRate <= 0 && l.ByteRate <= 0 {
		return nil
	}
	return &bucket{packets: newTokens(l.PacketRate, 1), bytes: newTokens(l.ByteRate, packet.MaxPayload)}
}

// wait tells for how long n tokens are not there.
func (t *tokens) wait(n float64, now time.Time) time.Duration {
	if t.rate == 0 {
		return 0
	}
	t.level = min(t.burst, t.level+t.rate*now.Sub(t.last).Seconds())
	t.last = now
	if t.level >= n {
		return 0
	}
	return max(time.Duration((n-t.level)/t.rate*float64(time.Second)), time.Microsecond)
}

// take says whether a packet may go now. If not, w is woken when it may. What nobody
// waits for is an answer that the switch gives itself, which always may.
func (b *bucket) take(size int, w packet.Waker) bool {
	if w == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	wait := max(b.packets.wait(1, now), b.bytes.wait(float64(size), now))
	if wait > 0 {
		b.waiters.Add(w)
		if b.timer == nil {
			b.timer = time.AfterFunc(wait, b.wake)
		}
		return false
	}
	b.packets.level--
	b.bytes.level -= float64(size)
	return true
}

// giveBack gives back what take took for a packet that did not go.
func (b *bucket) giveBack(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packets.level++
	b.bytes.level += float64(size)
}

func (b *bucket) wake() {
	b.mu.Lock()
	b.timer = nil
	b.mu.Unlock()
	b.waiters.WakeAll(&b.mu)
}

// stop lets those go who wait.
func (b *bucket) stop() {
	b.mu.Lock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	b.packets, b.bytes = tokens{}, tokens{}
	b.mu.Unlock()
	b.waiters.WakeAll(&b.mu)
}
