package hybrid

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/vsock"
)

// watchRetry is when a Watch that the system has no descriptor for notifies, which
// it may do too early: Poll then looks again, but does not spin.
const watchRetry = 10 * time.Millisecond

// alwaysPolled are the events that need not be asked for.
const alwaysPolled = vsock.PollErr | vsock.PollHup | vsock.PollNval

// Ready implements vsock.Socket. A socket that is nothing yet is as Linux's: its
// Send does not wait, it fails.
func (s *socket) Ready() vsock.Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, l := s.conn.Load(), s.listener.Load()
	switch {
	case s.closed:
		return vsock.PollNval
	case c != nil:
		return c.ready(min(s.opt.lowWater, s.opt.size))
	case l != nil:
		return pollNow(l, vsock.PollIn)
	case s.attempt != nil:
		return 0
	case s.failed != nil:
		return vsock.PollIn | vsock.PollOut | vsock.PollErr | vsock.PollHup
	}
	return vsock.PollOut | vsock.PollHup
}

// ready tells what Recv and Send would do. Unix sockets have no low water mark of
// their own.
func (c *conn) ready(lowWater uint64) vsock.Events {
	const ends = vsock.PollRdHup | vsock.PollHup | vsock.PollErr
	e := pollNow(c, vsock.PollIn|vsock.PollOut|vsock.PollRdHup)
	if lowWater > 1 && e&vsock.PollIn != 0 && e&ends == 0 {
		if n, err := c.unread(); err == nil && n < lowWater {
			e &^= vsock.PollIn
		}
	}
	if c.shutWrite.Load() && e&vsock.PollNval == 0 {
		e |= vsock.PollOut // Send does not wait, it fails
	}
	return e
}

// pollNow is poll(2) on one descriptor, without waiting. The events have the same
// values.
func pollNow(sc syscall.Conn, want vsock.Events) vsock.Events {
	rc, err := sc.SyscallConn()
	if err != nil {
		return vsock.PollNval
	}
	e := vsock.PollNval
	_ = rc.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: int16(want)}}
		for {
			_, err := unix.Poll(p, 0)
			switch err {
			case nil:
				e = vsock.Events(p[0].Revents)
				return
			case unix.EINTR:
			default:
				e = vsock.PollErr // out of memory: no answer, but nobody may wait for one
				return
			}
		}
	})
	return e
}

// watch is a call of Watch that has not ended: it waits for a change of state, and,
// where there is a Unix socket, in the runtime's poller for an event of that, on an
// epoll of its own. On the socket itself it would keep Recv and Send out, and they it.
type watch struct {
	once   sync.Once
	notify func()
	epoll  *os.File // may be nil
	wait   sync.WaitGroup
}

func (w *watch) fire() { w.once.Do(w.notify) }

// changed needs mu. It tells all who watch that the state is another.
func (s *socket) changed() {
	for w := range s.watches {
		w.fire()
	}
}

// Watch implements vsock.Socket.
func (s *socket) Watch(want vsock.Events, notify func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return notifyAfter(0, notify)
	}
	w := &watch{notify: notify}
	if sc := s.unixSocket(); sc != nil {
		if err := s.watchUnix(w, sc, want|alwaysPolled); err != nil {
			return notifyAfter(watchRetry, notify)
		}
	}
	if s.watches == nil {
		s.watches = make(map[*watch]struct{})
	}
	s.watches[w] = struct{}{}
	return func() {
		s.mu.Lock()
		delete(s.watches, w)
		s.mu.Unlock()
		if w.epoll != nil {
			_ = w.epoll.Close()
			w.wait.Wait()
		}
	}
}

// unixSocket is the Unix socket, or nil.
func (s *socket) unixSocket() syscall.Conn {
	if c := s.conn.Load(); c != nil {
		return c
	}
	if l := s.listener.Load(); l != nil {
		return l
	}
	return nil
}

// watchUnix begins to wait for an event of the Unix socket. It is told of changes
// (EPOLLET) and looks then, since bytes below the low water mark are no event.
func (s *socket) watchUnix(w *watch, sc syscall.Conn, want vsock.Events) error {
	epoll, rc, err := newEpoll(sc, want)
	if err != nil {
		return err
	}
	w.epoll = epoll
	w.wait.Go(func() {
		err := rc.Read(func(fd uintptr) bool {
			var e [1]unix.EpollEvent
			_, _ = unix.EpollWait(int(fd), e[:], 0) // it is told of the next change then
			return s.Ready()&want != 0
		})
		if err == nil {
			w.fire()
		}
	})
	return nil
}

// newEpoll makes an epoll, in the runtime's poller, that is told of changes of a
// socket.
func newEpoll(sc syscall.Conn, want vsock.Events) (*os.File, syscall.RawConn, error) {
	src, err := sc.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os takes it for a plain file
		_ = unix.Close(fd)
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "epoll")
	var aerr error
	err = src.Control(func(sock uintptr) {
		aerr = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, int(sock), &unix.EpollEvent{Events: uint32(want) | unix.EPOLLET})
	})
	if err == nil {
		err = aerr
	}
	var rc syscall.RawConn
	if err == nil {
		rc, err = f.SyscallConn()
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, rc, nil
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
