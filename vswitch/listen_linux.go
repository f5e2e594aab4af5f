package vswitch

import (
	"log/slog"
	"net"

	"vsockets.dev/internal/patient"
	"vsockets.dev/internal/unixsocket"
)

// listen makes a socket for front-ends by open, where none is given.
func listen(path string, given *net.UnixListener, open func(string) (*unixsocket.Listener, error), log *slog.Logger) (net.Listener, error) {
	log = log.With("socket", path)
	if given != nil {
		return patient.New(given, log), nil
	}
	l, err := open(path)
	if err != nil {
		return nil, err
	}
	return patient.New(l, log), nil
}

// serveAll serves one front-end after another, until the listener is closed.
func serveAll(l net.Listener, serve func(*net.UnixConn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		serve(conn.(*net.UnixConn)) //nolint:forcetypeassert // those of a Unix socket are
	}
}
