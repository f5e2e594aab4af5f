package testguest

import (
	"errors"
	"fmt"
	"time"

	"vsockets.dev/internal/testguest/channel"
)

// killFor kills the guest for the reason given. Only the first reason counts.
func (g *Guest) killFor(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	if g.why == nil {
		g.why = why
	}
	g.instance.kill()
}

// waitEnd waits until nothing of the guest is left.
func (g *Guest) waitEnd() {
	err := g.instance.wait()
	g.mu.Lock()
	g.ended = true // before stop, which would count as a reason to kill
	if g.why != nil {
		err = g.why
	}
	g.mu.Unlock()
	g.stop()
	<-g.received // at the latest now, since nobody holds the line's other end
	g.instance.in.Close()
	g.instance.out.Close()
	g.err = err
	close(g.done)
}

// endReason says why the guest is at its end. It is never nil.
func (g *Guest) endReason() error {
	if g.err != nil {
		return g.err
	}
	return ErrEnded
}

// Kill ends the guest as a crash or a power cut would, with SIGKILL, and returns when it is gone.
func (g *Guest) Kill() {
	g.killFor(ErrKilled)
	<-g.done
}

// Wait waits for the end of the guest, and of all its processes on the host. It
// gives nil for an orderly power off, else the reason of the end.
func (g *Guest) Wait() error {
	<-g.done
	return g.err
}

// Close powers the guest off and returns when it is gone. It kills a guest that
// does not obey, and says so. A guest that has ended before is no error.
func (g *Guest) Close() error {
	select {
	case <-g.done:
		return nil
	default:
	}
	// Not waited for: a line that is stuck must not keep the guest alive.
	go func() { _ = g.instance.conn.Send(channel.KindPowerOff, 0, nil) }()
	limit := time.NewTimer(powerOffLimit)
	defer limit.Stop()
	select {
	case <-g.done:
	case <-limit.C:
		g.killFor(fmt.Errorf("no power off within %v: %w", powerOffLimit, ErrKilled))
		<-g.done
	}
	if g.err != nil && !errors.Is(g.err, ErrEnded) {
		return fmt.Errorf("testguest: close: %w; %s", g.err, g.instance.console.end())
	}
	return nil
}
