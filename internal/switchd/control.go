package switchd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"vsockets.dev/internal/patient"
	"vsockets.dev/internal/unixsocket"
)

// Limits of the control socket. Its clients are this user's own and root's, so they
// guard against mistakes more than against malice.
const (
	maxControlConns  = 32
	maxControlHeader = 16 << 10

	controlHeaderTime = 5 * time.Second  // for the head of a request to come
	controlReadTime   = 10 * time.Second // for all of it
	controlWriteTime  = 30 * time.Second // from its head to the end of the answer
	controlIdleTime   = 30 * time.Second // between requests
	controlEndTime    = 2 * time.Second  // for requests to end when the switch does
)

// control is the control socket.
type control struct {
	path   string
	server *http.Server
	done   chan struct{} // closed when nothing is accepted any more
}

// setControl opens the control socket at a path, and closes the one that is open
// elsewhere. It needs mu.
func (d *Daemon) setControl(path string) error {
	old := d.control
	if old != nil && old.path == path || old == nil && path == "" {
		return nil
	}
	var c *control
	if path != "" {
		l, err := d.listenControl(path)
		if err != nil {
			return fmt.Errorf("control socket: %w", d.explain(err, path))
		}
		c = serveControl(path, l, newHandler(d), d.log)
	}
	if old != nil {
		d.inherited.release(old.path)
		_ = old.server.Close() // not its requests, which may wait for mu
		<-old.done
	}
	d.control = c
	return nil
}

func (d *Daemon) listenControl(path string) (net.Listener, error) {
	l, err := d.inherited.take(nameControl, path)
	if err != nil {
		return nil, err
	}
	if l != nil {
		return l, nil
	}
	return unixsocket.Listen(path)
}

func serveControl(path string, l net.Listener, h http.Handler, log *slog.Logger) *control {
	c := &control{
		path: path,
		done: make(chan struct{}),
		server: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: controlHeaderTime,
			ReadTimeout:       controlReadTime,
			WriteTimeout:      controlWriteTime,
			IdleTimeout:       controlIdleTime,
			MaxHeaderBytes:    maxControlHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
	}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(netutil.LimitListener(patient.New(l, log.With("socket", path)), maxControlConns))
	}()
	return c
}

// close ends the control socket, once the requests that are under way have ended.
func (c *control) close() {
	ctx, cancel := context.WithTimeout(context.Background(), controlEndTime)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close()
	}
	<-c.done
}
