package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	vsockets "vsockets.dev"
	"vsockets.dev/vsock"
)

// stackFlag names the stack that a command's addresses are of.
type stackFlag struct {
	Stack string `default:"kernel:" env:"VSOCK_STACK" placeholder:"URI" help:"The stack: kernel: is this system's own, switch:PATH joins a switch at its attach socket, hybrid:PATH is the Unix socket of a virtual machine of Firecracker or Cloud Hypervisor."`
}

func (f *stackFlag) open() (vsockets.Stack, error) {
	s, err := vsockets.Open(f.Stack)
	if err != nil {
		return nil, dialStatus(err)
	}
	return s, nil
}

// openWithin opens it, and tries that for as long as there is to wait.
func (f *stackFlag) openWithin(ctx context.Context, wait time.Duration) (s vsockets.Stack, err error) {
	err = waitFor(ctx, wait, func() (err error) {
		s, err = f.open()
		return err
	})
	if err != nil {
		return nil, dialStatus(err)
	}
	return s, nil
}

// gone tells of a switch that has ended, where an error comes of that: its own words are
// those of a socket that was closed.
func (f *stackFlag) gone(s vsockets.Stack, err error) error {
	if err == nil || !hasEnded(s) {
		return err
	}
	return withStatus(exitCut, fmt.Errorf("%s has gone; start the switch again, and then this", f.Stack))
}

// hasEnded says whether a stack's switch is no longer there.
func hasEnded(s vsockets.Stack) bool {
	joined, ok := s.(interface{ Done() <-chan struct{} })
	if !ok {
		return false
	}
	select {
	case <-joined.Done():
		return true
	default:
		return false
	}
}

// Times between attempts to reach who is not there yet: they double from one to the
// other.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// waitFor calls try until it succeeds, fails for a reason that does not pass, or
// the time is over. Without a time, it is called once.
func waitFor(ctx context.Context, wait time.Duration, try func() error) error {
	over := time.Now().Add(wait)
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := try()
		left := time.Until(over)
		if err == nil || !unreachable(err) || ctx.Err() != nil || wait == 0 {
			return err
		}
		if left <= 0 {
			return fmt.Errorf("nobody has been there for %v: %w", wait, err)
		}
		t := time.NewTimer(min(pause, left))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// dial opens the stack and connects, and tries that for as long as there is to wait.
// The stack is to be closed.
func (f *stackFlag) dial(ctx context.Context, wait time.Duration, d vsock.Dialer, a vsock.Addr) (s vsockets.Stack, conn *vsock.Conn, err error) {
	err = waitFor(ctx, wait, func() (err error) {
		if s == nil {
			if s, err = f.open(); err != nil {
				return err
			}
		}
		d.Stack = s
		conn, err = d.Dial(ctx, a)
		return err
	})
	if err == nil {
		return s, conn, nil
	}
	if s != nil {
		_ = s.Close()
	}
	return nil, nil, remedyDial(dialStatus(err), wait)
}

// remedyDial adds what to do where nobody answers.
func remedyDial(err error, waited time.Duration) error {
	var s *statusError
	if waited == 0 && errors.As(err, &s) && s.status == exitUnreachable {
		return fmt.Errorf("%w; is it running? --wait 30s waits for it", err)
	}
	return err
}

// typeFlag is the type of sockets.
type typeFlag struct {
	Type string `default:"stream" enum:"stream,seqpacket,dgram" help:"The type of the socket: stream, seqpacket or dgram."`
}

func (f typeFlag) socket() vsock.Type {
	switch f.Type {
	case "seqpacket":
		return vsock.Seqpacket
	case "dgram":
		return vsock.Datagram
	}
	return vsock.Stream
}
