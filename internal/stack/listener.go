package stack

import (
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/spin"
	"vsockets.dev/vsock"
)

// listener is a socket's accept queue.
type listener struct {
	cid uint32 // the CID it was bound to, CIDAny for all of the stack's
	typ packet.Type
	opt options

	mu       sync.Mutex
	sig      signal
	backlog  int
	reserved int       // connections in queue, or on their way into it
	queue    []*conn   // established, not accepted
	from     spin.Ring // by which the last of them came
	closed   bool
	deadline deadline
	watchers watchers

	spinMu sync.Mutex // one Accept looks at a time
	spin   spin.Wait  // spinMu
}

func newListener(cid uint32, typ packet.Type, opt options, backlog int) *listener {
	l := &listener{cid: cid, typ: typ, opt: opt, sig: newSignal(), backlog: max(backlog, 1)}
	l.deadline.mu, l.deadline.sig = &l.mu, l.sig
	return l
}

// serves says whether a connection to cid is for this listener.
func (l *listener) serves(cid uint32, typ packet.Type) bool {
	return l.typ == typ && (l.cid == vsock.CIDAny || l.cid == cid)
}

// reserve takes a place in the backlog, if there is one.
func (l *listener) reserve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.reserved >= l.backlog {
		return false
	}
	l.reserved++
	return true
}

// enqueue fills a place that was reserved.
func (l *listener) enqueue(c *conn) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		c.abort(net.ErrClosed)
		return
	}
	l.queue = append(l.queue, c)
	l.from = c.in
	l.watchers.fire()
	l.mu.Unlock()
	l.sig.send()
}

func (l *listener) accept(wait bool) (*conn, error) {
	for {
		c, err := l.next()
		switch {
		case c != nil || err != nil:
			return c, err
		case !wait:
			return nil, syscall.EAGAIN
		}
		l.await()
	}
}

// await returns when the signal is sent. Who has asked for a connection is likely to ask
// for another: so this looks for a short time into the ring that the last one came by,
// after those who have just got theirs have had their turn.
func (l *listener) await() {
	if !l.spinMu.TryLock() {
		l.deadline.sleep()
		return
	}
	l.mu.Lock()
	from := l.from
	l.mu.Unlock()
	runtime.Gosched()
	sent := look(&l.spin, l.sig.sent, from, false)
	l.spinMu.Unlock()
	if !sent {
		l.deadline.sleep()
	}
}

// ready tells the events of vsock.Socket.Ready.
func (l *listener) ready() vsock.Events {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		return vsock.PollIn
	}
	return 0
}

func (l *listener) watch(notify func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watchers.add(&l.mu, notify)
}

// next gives the next connection, or why there will be none, or neither. The
// signal wakes one waiter only, who passes it on while there is cause.
func (l *listener) next() (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		l.sig.send()
		return nil, net.ErrClosed
	case l.deadline.over():
		l.sig.send()
		return nil, os.ErrDeadlineExceeded
	case len(l.queue) == 0:
		return nil, nil
	}
	c := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.reserved--
	if len(l.queue) > 0 {
		l.sig.send()
	}
	return c, nil
}

// close ends Accept, and resets the connections that nobody accepted.
func (l *listener) close() {
	l.mu.Lock()
	queue := l.queue
	l.closed, l.queue = true, nil
	l.deadline.stop()
	l.watchers.fire()
	l.mu.Unlock()
	l.sig.send()
	for _, c := range queue {
		c.abort(net.ErrClosed)
	}
}

func (l *listener) setBacklog(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backlog = max(n, 1)
}

func (l *listener) setDeadline(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline.set(t)
}
