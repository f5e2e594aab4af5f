package vsock

import "time"

// Events are what Poll waits for and tells. The values are those of poll.h.
type Events int16

// Events, to be combined with |.
const (
	PollIn    Events = 0x001  // POLLIN: Recv or Accept will not wait
	PollPri   Events = 0x002  // POLLPRI: an exceptional condition; no stack has one
	PollOut   Events = 0x004  // POLLOUT: Send will not wait
	PollErr   Events = 0x008  // POLLERR: an error is pending; always waited for
	PollHup   Events = 0x010  // POLLHUP: both directions have ended; always waited for
	PollNval  Events = 0x020  // POLLNVAL: the socket is closed; always waited for
	PollRdHup Events = 0x2000 // POLLRDHUP: the peer will send no more
)

// alwaysPolled are the events that need not be asked for.
const alwaysPolled = PollErr | PollHup | PollNval

// PollFD is a socket for Poll: what to wait for, and what holds.
type PollFD struct {
	Socket  Socket // nil is passed over
	Events  Events // Poll adds PollErr, PollHup and PollNval, as poll(2) does
	Revents Events // set by Poll
}

// Infinite is a timeout that never comes.
const Infinite time.Duration = -1

// Poll waits until one of the sockets has one of its events, or the timeout
// passes: 0 does not wait, a negative one is infinite. It tells how many sockets
// have events, 0 after the timeout. The sockets may be of any mix of stacks.
func Poll(fds []PollFD, timeout time.Duration) int {
	for i := range fds {
		fds[i].Events |= alwaysPolled
	}
	n := look(fds)
	if n > 0 || timeout == 0 {
		return n
	}
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	for {
		if n := waitOnce(fds, expired); n >= 0 {
			return n
		}
	}
}

// look fills in Revents, and counts.
func look(fds []PollFD) int {
	n := 0
	for i := range fds {
		f := &fds[i]
		f.Revents = 0
		if f.Socket != nil {
			f.Revents = f.Socket.Ready() & f.Events
		}
		if f.Revents != 0 {
			n++
		}
	}
	return n
}

// waitOnce watches all sockets until one has news: -1 if it turns out to be none.
// It looks again after it has begun to watch, so nothing falls in between.
func waitOnce(fds []PollFD, expired <-chan time.Time) int {
	news := make(chan struct{}, 1)
	notify := func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	for _, f := range fds {
		if f.Socket != nil {
			defer f.Socket.Watch(f.Events, notify)()
		}
	}
	if n := look(fds); n > 0 {
		return n
	}
	select {
	case <-news:
	case <-expired:
		return look(fds)
	}
	if n := look(fds); n > 0 {
		return n
	}
	return -1
}
