package compare

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"vsockets.dev/internal/bench"
	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

// TestDevice has our own switch be a device of someone else's: what a guest connects
// to comes out at a Unix socket.
func TestDevice(t *testing.T) {
	dir := t.TempDir()
	d := Device{Name: "ours", Socket: filepath.Join(dir, "device"), UDS: filepath.Join(dir, "host")}
	sw := vswitch.New(vswitch.Config{})
	defer sw.Close()
	if _, err := sw.AddGuest(vswitch.GuestConfig{CID: nearCID, Socket: d.Socket}); err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), sw.Host())
	if err != nil {
		t.Fatal(err)
	}
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		join(l, d.UDS+"_1024")
	}()

	rep, err := Run(t.Context(), Config{
		Transports: []string{d.Name}, Devices: []Device{d}, Rounds: 1, Time: 10 * time.Millisecond, Child: testChild(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Entries) != 1 {
		t.Errorf("%d are compared, and one was named", len(rep.Entries))
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	<-joined
	if e := rep.entry("ours"); e.Error != "" || e.Restarts > 0 || len(e.Summary) != len(metrics()) {
		t.Errorf("%d of %d metrics, %d restarts, %s", len(e.Summary), len(metrics()), e.Restarts, e.Error)
	}
}

// join joins the connections of l to a Unix socket, until l is closed.
func join(l *vsock.Listener, path string) {
	done := make(chan struct{})
	n := 0
	for {
		near, err := l.AcceptConn()
		if err != nil {
			break
		}
		n++
		go func() {
			defer func() { done <- struct{}{} }()
			far, err := net.Dial("unix", path)
			if err != nil {
				_ = near.Close()
				return
			}
			_ = relay.Join(near, far.(*net.UnixConn))
		}()
	}
	for range n {
		<-done
	}
}

func TestScale(t *testing.T) {
	rep, err := Scale(t.Context(), ScaleConfig{
		Contexts: 2, Conns: 20, Streams: 5, Rounds: 1, Time: 10 * time.Millisecond, IdleTime: 10 * time.Millisecond, Child: testChild(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	// 1, 5 and 4 streams each way, 1 and 5 over Unix sockets, the same one way through a bare ring,
	// and two measurements beside 10.
	if len(rep.Points) != 14 || len(rep.Targets) != 13 || rep.Idle.Conns != 20 {
		t.Errorf("%d points, %d targets\n%s", len(rep.Points), len(rep.Targets), rep.Table())
	}
	if _, err := Scale(t.Context(), ScaleConfig{}); err == nil {
		t.Error("nothing at all is measured")
	}
}

// TestEndEnds has a child end with its input.
func TestEndEnds(t *testing.T) {
	in, stop := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- ServeEnd(in, nopCloser{io.Discard}) }()
	_ = stop.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// TestCancel leaves no child behind.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := Config{Transports: []string{"unix"}, Rounds: 1, Time: bench.MaxTime / 2, Child: testChild(t)}
	c.Progress = func(done, _ int, _ string) {
		if done == 0 {
			time.AfterFunc(20*time.Millisecond, cancel)
		}
	}
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
