package eventfd

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// served is what Look looks at: an epoll of all events that are served just now, beside the
// runtime's own, into which nobody can look.
var served struct {
	mu     sync.Mutex
	epoll  int              // of no meaning while there are no events
	events map[int32]*Event // by descriptor
}

// Look has those look that serve events which were signalled since the last Look, and says
// whether there were any. They run when the runtime lets them. The runtime itself finds signals
// only where a processor has nothing to do, or once in 10 ms: who keeps one, to look for
// something else, calls this now and then.
func Look() (found bool) {
	if !served.mu.TryLock() {
		return false
	}
	defer served.mu.Unlock()
	if len(served.events) == 0 {
		return false
	}
	var signalled [16]unix.EpollEvent
	n, _ := unix.EpollWait(served.epoll, signalled[:], 0)
	for _, s := range signalled[:max(n, 0)] {
		if e := served.events[s.Fd]; e != nil {
			e.nudge()
			found = true
		}
	}
	return found
}

// beginServing has Look look at e. Where there is no descriptor for that, only the runtime does.
func (e *Event) beginServing() {
	served.mu.Lock()
	defer served.mu.Unlock()
	if e.Closed() {
		return
	}
	if len(served.events) == 0 {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return
		}
		served.epoll, served.events = fd, make(map[int32]*Event)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(e.fd)}
	if unix.EpollCtl(served.epoll, unix.EPOLL_CTL_ADD, e.fd, &ev) == nil {
		served.events[ev.Fd] = e
	}
	closeUnused()
}

// endServing comes before e's descriptor is closed: the other side has the same file, so that the
// epoll would keep it.
func (e *Event) endServing() {
	served.mu.Lock()
	defer served.mu.Unlock()
	if fd := int32(e.fd); served.events[fd] == e {
		delete(served.events, fd)
		_ = unix.EpollCtl(served.epoll, unix.EPOLL_CTL_DEL, e.fd, nil)
		closeUnused()
	}
}

// closeUnused needs mu.
func closeUnused() {
	if len(served.events) == 0 {
		_ = unix.Close(served.epoll)
	}
}

// longAgo is a deadline that ends a wait at once.
var longAgo = time.Unix(1, 0)

// nudge has Serve ask whether it is ready.
func (e *Event) nudge() {
	e.nudged.Store(true)
	_ = e.f.SetReadDeadline(longAgo)
}

// wasNudged tells whether that is all that a wait has ended for.
func (e *Event) wasNudged(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || e.interrupted.Load() {
		return false
	}
	_ = e.f.SetReadDeadline(time.Time{})
	if e.interrupted.Load() { // meanwhile: that deadline is to stay
		_ = e.f.SetReadDeadline(longAgo)
		return false
	}
	return true
}
