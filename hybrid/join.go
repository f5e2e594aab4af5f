package hybrid

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"vsockets.dev/internal/relay"
)

// GuestConn is a connection of the guest's, as *vsock.Conn is one.
type GuestConn interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// join copies between a Unix connection and the guest until both directions have
// ended, and closes both. The guest gets rest first. That one side took no more
// than it wanted is no error.
func join(host relay.Conn, guest GuestConn, rest []byte) error {
	var wait sync.WaitGroup
	defer wait.Wait() // after both are closed: then the watch ends
	h := &hostEnd{Conn: host, rest: rest, ended: func() {
		wait.Go(func() { awaitHangup(host, func() { _ = guest.CloseRead() }) })
	}}
	err := relay.Join(h, guest)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// hostEnd is the Unix connection. The end of what it sends says nothing of whether
// it still receives: ended is called to find out.
type hostEnd struct {
	relay.Conn
	rest  []byte // what came in behind the line
	ended func()
	once  sync.Once
}

func (h *hostEnd) Read(p []byte) (int, error) {
	if len(h.rest) > 0 {
		n := copy(p, h.rest)
		h.rest = h.rest[n:]
		return n, nil
	}
	n, err := h.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		h.once.Do(h.ended)
	}
	return n, err
}

// CloseRead also takes what has come in and is not wanted any more: to close a Unix
// socket with unread data is a reset to its peer, which this is not. The peer cannot
// send more, so there is an end to it.
func (h *hostEnd) CloseRead() error {
	err := h.Conn.CloseRead()
	if err == nil {
		_, _ = io.Copy(io.Discard, h.Conn)
	}
	return err
}
