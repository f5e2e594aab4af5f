package vswitch

import (
	"sync"
	"time"

	"vsockets.dev/internal/packet"
)

// halfOpenTimeout is after what time a request that was not answered counts no
// more. Connect timeouts are 2 s by default; a driver does not tell that one passed.
const halfOpenTimeout = 10 * time.Second

// flow names a connection, seen from one of its ends: where nothing else is said, from the
// context that opened it.
type flow struct {
	port   uint32 // its own
	remote uint32 // CID
	to     uint32 // and port of the other end
}

// outbound and inbound name the connection of a packet: as one that its sender
// opened, and as one that its receiver did.
func outbound(h *packet.Header) flow {
	return flow{port: h.SrcPort, remote: uint32(h.DstCID), to: h.DstPort}
}

func inbound(h *packet.Header) flow {
	return flow{port: h.DstPort, remote: uint32(h.SrcCID), to: h.SrcPort}
}

// back is the connection as the other end sees it, which the context with a CID opened.
func (k flow) back(cid uint32) flow { return flow{port: k.to, remote: cid, to: k.port} }

// flows are the connections that a context opened: from the REQUEST until an RST,
// which ends every connection (virtio 1.3 section 5.10.6.5). They are what limits
// count, and what the switch resets when one end is gone.
type flows struct {
	mu    sync.Mutex
	since map[flow]time.Time // when it was asked for; zero once it is answered
	half  int                // those that are not
	sweep time.Time          // before that, no half-open one is old enough to be dropped
}

// request enters a connection, or says that the limits forbid it. It also gives those that
// nobody answered in time, if it looked for them.
func (f *flows) request(k flow, l *Limits) (ok bool, expired []flow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.since[k]; ok {
		return true, nil // the other end knows what to say to that
	}
	now := time.Now()
	if over(f.half+1, l.HalfOpen) || over(len(f.since)+1, l.Connections) {
		expired = f.expire(now)
		if over(f.half+1, l.HalfOpen) || over(len(f.since)+1, l.Connections) {
			return false, expired
		}
	}
	if f.since == nil {
		f.since = make(map[flow]time.Time)
	}
	if f.half == 0 {
		f.sweep = now.Add(halfOpenTimeout)
	}
	f.since[k] = now
	f.half++
	return true, expired
}

// expire needs mu. It forgets requests that nobody answered.
func (f *flows) expire(now time.Time) (expired []flow) {
	if f.half == 0 || now.Before(f.sweep) {
		return nil
	}
	oldest := now
	for k, t := range f.since {
		switch {
		case t.IsZero():
		case now.Sub(t) >= halfOpenTimeout:
			delete(f.since, k)
			f.half--
			expired = append(expired, k)
		case t.Before(oldest):
			oldest = t
		}
	}
	f.sweep = oldest.Add(halfOpenTimeout)
	return expired
}

// answer says whether a connection was asked for; it counts as open from now on.
func (f *flows) answer(k flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.since[k]
	if ok && !t.IsZero() {
		f.since[k] = time.Time{}
		f.half--
	}
	return ok
}

// has says whether there is a connection.
func (f *flows) has(k flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.since[k]
	return ok
}

// unanswered says whether a connection was asked for, and nothing else yet.
func (f *flows) unanswered(k flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.since[k].IsZero()
}

// end forgets a connection, and says whether it was there.
func (f *flows) end(k flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.since[k]
	if !ok {
		return false
	}
	delete(f.since, k)
	if !t.IsZero() {
		f.half--
	}
	return true
}

// endAll forgets all connections that want is true of, and gives them.
func (f *flows) endAll(want func(flow) bool) []flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ended []flow
	for k, t := range f.since {
		if want(k) {
			ended = append(ended, k)
			delete(f.since, k)
			if !t.IsZero() {
				f.half--
			}
		}
	}
	return ended
}

// count tells how many connections there are, and how many of them are half-open.
func (f *flows) count() (all, half int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.since), f.half
}
