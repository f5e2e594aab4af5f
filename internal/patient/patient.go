// Package patient has a listener go on when connections cannot be accepted for a while,
// which is so when descriptors or memory are short: accept(2). Who connects then waits in
// the kernel's queue, which is bounded, and is served when there is room again.
package patient

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// firstDelay and maxDelay bound how long it waits after a failure. It doubles from one to
// the other.
const (
	firstDelay = 5 * time.Millisecond
	maxDelay   = time.Second
)

// tellEvery is how often it is logged at most that connections wait: at the limit, that
// may begin and end with each connection.
const tellEvery = time.Minute

// Listener is a listener whose Accept fails only when there is nothing more to accept.
type Listener struct {
	net.Listener
	log *slog.Logger

	closing chan struct{} // closed by Close
	close   func() error  // once
	mu      sync.Mutex
	told    time.Time // when a failure was logged
	waiting bool      // and its end was not
}

// New makes one of a listener, and owns that. What it waits for is logged.
func New(l net.Listener, log *slog.Logger) *Listener {
	p := &Listener{Listener: l, log: log, closing: make(chan struct{})}
	p.close = sync.OnceValue(func() error {
		close(p.closing)
		return l.Close()
	})
	return p
}

// Accept gives the next connection. It fails when the listener is closed or is none, and
// passes on the io.EOF of one that has no more.
func (p *Listener) Accept() (net.Conn, error) {
	delay := firstDelay
	for {
		c, err := p.Listener.Accept()
		switch {
		case err == nil:
			p.succeeded()
			return c, nil
		case isLast(err):
			return nil, err
		}
		p.failed(err)
		again := time.NewTimer(delay)
		select {
		case <-again.C:
		case <-p.closing:
			again.Stop()
			return nil, net.ErrClosed
		}
		delay = min(2*delay, maxDelay)
	}
}

// last are the errors after which nothing more comes. All others pass: among them are those
// of connections that ended before they were accepted.
var last = []error{net.ErrClosed, io.EOF, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP}

func isLast(err error) bool {
	return slices.ContainsFunc(last, func(l error) bool { return errors.Is(err, l) })
}

// failed logs a failure.
func (p *Listener) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.told.IsZero() || now.Sub(p.told) >= tellEvery {
		p.told, p.waiting = now, true
		p.log.Warn("connections wait, since none can be accepted", "reason", remedy(err))
	}
}

// succeeded logs the end of a failure that was logged.
func (p *Listener) succeeded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting {
		p.waiting = false
		p.log.Info("connections are accepted again", "after", time.Since(p.told))
	}
}

// remedy says what to do about an error.
func remedy(err error) error {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("%w; raise this process's limit of open files (ulimit -n, LimitNOFILE=)", err)
	case errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("%w; raise the system's limit of open files (sysctl fs.file-max)", err)
	}
	return err
}

// Close ends Accept. Further calls give what the first one gave.
func (p *Listener) Close() error { return p.close() }
