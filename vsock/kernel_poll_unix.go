//go:build linux || darwin

package vsock

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// watchRetry is when a Watch that the system has no descriptor for notifies,
// which it may do too early: Poll then looks again, but does not spin.
const watchRetry = 10 * time.Millisecond

// Ready implements Socket. The kernel's events have the values of ours.
func (s *kernelSocket) Ready() Events {
	e := PollNval
	err := s.control(func(fd int) error {
		e = pollNow(fd, kernelPolls)
		return nil
	})
	if err != nil {
		return PollNval
	}
	return e
}

// pollNow is poll(2) on one descriptor, without waiting.
func pollNow(fd int, want Events) Events {
	p := []unix.PollFd{{Fd: int32(fd), Events: int16(want)}}
	for {
		_, err := unix.Poll(p, 0)
		switch err {
		case nil:
			return Events(p[0].Revents)
		case unix.EINTR:
		default:
			return PollErr // out of memory: no answer, but nobody may wait for one
		}
	}
}

// kernelWatches are the calls of Watch on one socket that have not ended.
type kernelWatches struct {
	mu     sync.Mutex
	closed bool
	list   map[*kernelWatch]struct{}
}

// A kernelWatch waits in the runtime's poller, on a descriptor of its own. On the
// socket's it would keep Recv and Send out, and they it.
type kernelWatch struct {
	file   *os.File
	once   sync.Once
	notify func()
	wait   sync.WaitGroup
}

func (w *kernelWatch) fire() { w.once.Do(w.notify) }

// Watch implements Socket.
func (s *kernelSocket) Watch(want Events, notify func()) (stop func()) {
	ws := &s.watches
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return notifyAfter(0, notify)
	}
	file, waits, err := s.watchFile(want | alwaysPolled)
	if err != nil {
		return notifyAfter(watchRetry, notify)
	}
	w := &kernelWatch{file: file, notify: notify}
	if ws.list == nil {
		ws.list = make(map[*kernelWatch]struct{})
	}
	ws.list[w] = struct{}{}
	for _, wait := range waits {
		w.wait.Go(func() {
			if wait() == nil {
				w.fire()
			}
		})
	}
	return func() {
		ws.mu.Lock()
		delete(ws.list, w)
		ws.mu.Unlock()
		_ = w.file.Close()
		w.wait.Wait()
	}
}

// close ends all watches, as Close of the socket does: that is an event. Stop takes
// mu first, so it returns after the notify here, or before it could come.
func (ws *kernelWatches) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.list {
		_ = w.file.Close()
		w.fire()
	}
	ws.closed, ws.list = true, nil
}

// notifyAfter notifies later, since Watch's caller may hold a lock that notify needs.
func notifyAfter(d time.Duration, notify func()) (stop func()) {
	var done sync.WaitGroup
	done.Add(1)
	t := time.AfterFunc(d, func() {
		defer done.Done()
		notify()
	})
	return func() {
		if t.Stop() {
			done.Done()
		}
		done.Wait()
	}
}
