package stack

import (
	"sync"
	"time"
)

// closeTimeout is how long a connection that we closed waits for the peer's RST
// before it sends its own. Source: Linux, VSOCK_CLOSE_TIMEOUT.
const closeTimeout = 8 * time.Second

// closings are a stack's connections that were closed here and are not over yet, the
// oldest first: all wait for as long, so one timer is enough. It is not stopped when one
// is over, since the next is likely to come before it ends.
type closings struct {
	mu          sync.Mutex
	first, last *conn
	timer       *time.Timer // nil: there is none to wait for
}

// closingEntry is a connection's place among them; closings.mu guards it.
type closingEntry struct {
	before, after *conn
	until         time.Time
}

func (s *closings) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.inClosings = closingEntry{before: s.last, until: time.Now().Add(closeTimeout)}
	if s.last != nil {
		s.last.inClosings.after = c
	} else {
		s.first = c
	}
	s.last = c
	if s.timer == nil {
		s.timer = time.AfterFunc(closeTimeout, s.expire)
	}
}

// remove takes one out that is over, unless expire was faster.
func (s *closings) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlink(c)
}

// unlink needs mu.
func (s *closings) unlink(c *conn) {
	before, after := c.inClosings.before, c.inClosings.after
	switch {
	case before != nil:
		before.inClosings.after = after
	case s.first == c:
		s.first = after
	default:
		return // it is not there
	}
	if after != nil {
		after.inClosings.before = before
	} else {
		s.last = before
	}
	c.inClosings = closingEntry{}
}

// expire ends those that have waited long enough.
func (s *closings) expire() {
	for _, c := range s.due() {
		c.closeExpired()
	}
}

// due takes those out, and has the timer wait for the next.
func (s *closings) due() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*conn
	for c := s.first; c != nil; c = s.first {
		if wait := time.Until(c.inClosings.until); wait > 0 {
			s.timer = time.AfterFunc(wait, s.expire)
			return due
		}
		due = append(due, c)
		s.unlink(c)
	}
	s.timer = nil
	return due
}

// stop ends the timer: the stack has been closed, and its connections are over.
func (s *closings) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
