package vswitch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"vsockets.dev/internal/unixsocket"
)

// listener is where front-ends come from: a unixsocket.Listener or a *net.UnixListener.
type listener interface {
	AcceptUnix() (*net.UnixConn, error)
	Close() error
}

// listen makes a socket, where none is given.
func listen(path string, given *net.UnixListener) (listener, error) {
	if given != nil {
		return given, nil
	}
	return unixsocket.Listen(path)
}

// acceptPause is how long no front-end is accepted after one could not be, for
// want of descriptors: others may give some back.
const acceptPause = 100 * time.Millisecond

// serveAll serves one front-end after another, until the listener is closed.
func serveAll(ctx context.Context, l listener, log *slog.Logger, serve func(*net.UnixConn)) {
	for {
		conn, err := l.AcceptUnix()
		switch {
		case err == nil:
			serve(conn)
		case errors.Is(err, net.ErrClosed), ctx.Err() != nil:
			return
		default:
			log.Warn("a front-end cannot connect", "reason", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
		}
	}
}
