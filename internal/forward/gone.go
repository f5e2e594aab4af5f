package forward

import (
	"sync"
	"time"

	"vsockets.dev/internal/relay"
	"vsockets.dev/vsock"
)

// hangupInterval is how often it is looked whether the peer of a vSockets connection
// has gone. Socket.Watch would tell at once, and of every packet besides.
const hangupInterval = time.Second

// whenGone ends what the other side of a joined pair still sends to c once nobody
// is there to take it: once the command that c is has ended, or the peer of a
// vSockets connection has closed both directions. Without it, a pair whose other
// side is silent would stay. Other kinds of connections do not tell.
func whenGone(c, other relay.Conn) (stop func()) {
	end := make(chan struct{})
	var watch sync.WaitGroup
	switch c := c.(type) {
	case *process:
		watch.Go(func() {
			select {
			case <-c.exited:
				_ = other.CloseRead()
			case <-end:
			}
		})
	case *vsock.Conn:
		watch.Go(func() {
			if hungUp(c.Socket(), end) {
				_ = other.CloseRead()
			}
		})
	}
	return func() {
		close(end)
		watch.Wait()
	}
}

// hungUp waits until both directions of a connection have ended.
func hungUp(s vsock.Socket, end <-chan struct{}) bool {
	t := time.NewTicker(hangupInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if s.Ready()&vsock.PollHup != 0 {
				return true
			}
		case <-end:
			return false
		}
	}
}
