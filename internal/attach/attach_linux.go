package attach

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"vsockets.dev/internal/driver"
	"vsockets.dev/internal/spin"
	"vsockets.dev/internal/stack"
	"vsockets.dev/vsock"
)

// Stack is the context. It implements vsock.Stack.
type Stack struct {
	path   string
	driver *driver.Driver
	stack  *stack.Stack
	over   sync.WaitGroup // the goroutine that waits for the driver's end
}

// Dial joins the switch that serves the vhost-user socket at path.
func Dial(ctx context.Context, path string) (*Stack, error) {
	d, err := driver.Connect(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &Stack{path: path, driver: d, stack: stack.New(stack.Config{
		CID: d.CID(), Out: d,
		Poller: func(uint32) spin.Ring { return d },
	})}
	if err := d.Start(s.stack); err != nil {
		_ = d.Close()
		return nil, err
	}
	s.over.Go(func() {
		<-d.Done()
		// The switch has gone, or Close was called. Nobody can be told of anything.
		s.stack.Disconnect()
		_ = s.stack.Close()
	})
	return s, nil
}

// Socket creates a socket of the context.
func (s *Stack) Socket(t vsock.Type) (vsock.Socket, error) {
	select {
	case <-s.driver.Done():
		return nil, fmt.Errorf("the switch at %s has gone (%w); open it again: %w", s.path, s.driver.Err(), syscall.ENETDOWN)
	default:
		return s.stack.Socket(t)
	}
}

// LocalCID is the CID that the switch gave.
func (s *Stack) LocalCID() (uint32, error) { return s.driver.CID(), nil }

// Done is closed when the context has ended: by Close, or because the switch did.
func (s *Stack) Done() <-chan struct{} { return s.driver.Done() }

// flushTime is how long Close waits at most for the switch to take what was sent.
const flushTime = 5 * time.Second

// Close leaves the switch, when that has taken what was sent. The context's
// connections are reset and its listeners closed.
func (s *Stack) Close() error {
	err := s.stack.Close()
	s.driver.Flush(flushTime)
	_ = s.driver.Close()
	s.over.Wait()
	return err
}
