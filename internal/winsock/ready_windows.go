package winsock

import (
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/windows"
)

// Network events of WSAEventSelect, winsock2.h.
const (
	fdRead    = 1 << 0
	fdWrite   = 1 << 1
	fdAccept  = 1 << 3
	fdConnect = 1 << 4
	fdClose   = 1 << 5
)

// recheck is when watches end without an event, in milliseconds. Winsock tells of
// some events once only: of room to send, for one, after a call that found none.
const recheck = 100

// State is what a socket is ready for.
type State struct {
	Read   bool // Recv or Accept will not wait
	Write  bool // Send will not wait
	Ended  bool // the peer will send no more, or this end receive none
	Over   bool // both directions have ended
	Failed bool // the connection was cut, or could not be made
	Closed bool // by Close
}

// Ready tells what holds now.
func (s *Socket) Ready() (st State) {
	err := s.use(func() (err error) {
		st.Read, st.Write, st.Failed, err = selectNow(s.handle)
		if st.Write || st.Failed {
			s.connecting.Store(false)
		}
		return err
	})
	if err != nil {
		return State{Closed: errors.Is(err, net.ErrClosed), Failed: true, Read: true, Write: true}
	}
	if s.typ != windows.SOCK_STREAM {
		return st
	}
	if isClosed(s.read.shut) {
		st.Read, st.Ended = true, true
	}
	defer func() { st.Over = st.Failed || st.Ended && isClosed(s.write.shut) }()
	if !st.Read || st.Ended {
		return st
	}
	// Whether that is the end is to be seen from the first byte. A listener has none,
	// and says ENOTCONN.
	switch _, _, err := s.Recv(make([]byte, 1), true, false); {
	case errors.Is(err, io.EOF):
		st.Ended = true
	case err != nil && Cut(err):
		st.Ended, st.Failed = true, true
	}
	return st
}

// readiness is WSAEventSelect on one socket, which can have it once, for all who
// watch. An event that comes ends all watches: it may be too early for some.
type readiness struct {
	s *Socket

	mu      sync.Mutex
	event   windows.Handle
	watches map[*watch]struct{}
	waiting bool // the goroutine that waits for event is there
	closed  bool
}

type watch struct {
	events uint32
	mu     sync.Mutex
	notify func() // nil: was called, or stopped
}

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notify != nil {
		w.notify()
		w.notify = nil
	}
}

// Watch calls notify once when Recv, Accept or Send may not wait any more, or the
// socket fails or is closed. It may come too early. After stop it comes no more.
func (s *Socket) Watch(read, write bool, notify func()) (stop func()) {
	events := uint32(fdClose)
	if read {
		events |= fdRead | fdAccept
	}
	if write {
		events |= fdWrite
	}
	return s.ready.watch(events, notify)
}

func (r *readiness) watch(events uint32, notify func()) (stop func()) {
	w := &watch{events: events, notify: notify}
	r.mu.Lock()
	if r.watches == nil {
		r.watches = make(map[*watch]struct{})
	}
	r.watches[w] = struct{}{}
	err := r.arm()
	r.mu.Unlock()
	if err != nil { // closed, or nothing to wait with: too early is allowed, too late is not
		go w.fire()
	}
	return func() {
		r.mu.Lock()
		delete(r.watches, w)
		if r.waiting && len(r.watches) == 0 {
			_ = windows.SetEvent(r.event) // sends the goroutine home
		}
		r.mu.Unlock()
		w.mu.Lock()
		w.notify = nil
		w.mu.Unlock()
	}
}

// arm needs mu. It asks for the events of all watches; those that hold already come
// at once.
func (r *readiness) arm() error {
	if r.closed {
		return net.ErrClosed
	}
	if r.event == 0 {
		event, err := windows.CreateEvent(nil, 0, 0, nil) // resets itself
		if err != nil {
			return err
		}
		r.event = event
	}
	var events uint32
	for w := range r.watches {
		events |= w.events
	}
	if r.s.connecting.Load() { // on a connected socket it would come at once, and again
		events |= fdConnect
	}
	if err := r.s.use(func() error { return eventSelect(r.s.handle, r.event, events) }); err != nil {
		return err
	}
	if !r.waiting {
		r.waiting = true
		go r.loop()
	}
	return nil
}

// loop is there as long as somebody watches. It takes a thread while it waits.
func (r *readiness) loop() {
	for {
		_, err := windows.WaitForSingleObject(r.event, recheck)
		r.mu.Lock()
		fired := r.watches
		r.watches = nil
		home := len(fired) == 0 || r.closed || err != nil
		if home {
			r.waiting = false
			if r.closed {
				_ = windows.CloseHandle(r.event)
			}
		}
		r.mu.Unlock()
		for w := range fired {
			w.fire()
		}
		if home {
			return
		}
	}
}

// close ends all watches. The event is closed by whoever waits for it.
func (r *readiness) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	switch {
	case r.waiting:
		_ = windows.SetEvent(r.event)
	case r.event != 0:
		_ = windows.CloseHandle(r.event)
	}
}
