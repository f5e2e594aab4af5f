package eventfd

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Event is an eventfd that is waited for, registered with the runtime's poller, and can
// be rung too.
//
// Waiting never reads the eventfd. The poller is edge-triggered, so each signal
// is an event of its own whatever the counter says; that saves a system call,
// and makes no difference between a sane peer and one that changes the flags of
// the file that both share.
type Event struct {
	Bell // its descriptor is f's
	f    *os.File
	rc   syscall.RawConn
	idle atomic.Uint64 // signals for nothing, of Serve

	// Of Serve.
	nudged      atomic.Bool // by Look, beside the signal
	interrupted atomic.Bool
}

// Of signals that come for nothing, so many in a row within so short a time have Serve
// pause: the other side can ring faster than it costs it, and each wakes a goroutine.
// A ring with a purpose that comes meanwhile waits as long.
const (
	idleBurst = 64
	idleTime  = 5 * time.Millisecond
	idlePause = time.Millisecond
)

// New makes an eventfd.
func New() (*Event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return Wrap(fd)
}

// Wrap takes over a descriptor, and closes it if that fails.
func Wrap(fd int) (*Event, error) {
	e := new(Event)
	if err := e.init(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	e.f = os.NewFile(uintptr(fd), "eventfd")
	// A file that cannot be polled has no deadlines.
	if err := e.f.SetReadDeadline(time.Time{}); err != nil {
		_ = e.Close()
		return nil, fmt.Errorf("eventfd: descriptor %d cannot be polled: %w", fd, err)
	}
	var err error
	if e.rc, err = e.f.SyscallConn(); err != nil {
		_ = e.Close()
		return nil, fmt.Errorf("eventfd: descriptor %d: %w", fd, err)
	}
	return e, nil
}

// Wait returns when ready says true. It asks at once, and again after each
// signal: none is lost that comes after ready last looked. After Interrupt or
// Close it returns false.
func (e *Event) Wait(ready func() bool) bool {
	return e.rc.Read(func(uintptr) bool { return ready() }) == nil
}

// Serve waits and works, over and over, until Interrupt or Close. It costs no
// memory each time around, as Wait would.
func (e *Event) Serve(ready func() bool, work func()) {
	asked, twice, idle, pause, since := false, false, 0, false, time.Now()
	f := func(uintptr) bool {
		if ready() {
			idle, twice = 0, false
			return true
		}
		if !asked { // before it has waited
			asked = true
			return false
		}
		if e.nudged.Swap(false) && !twice { // one signal is found by Look, and by the runtime
			twice = true
			return false
		}
		twice = false
		e.idle.Add(1)
		if idle++; idle < idleBurst {
			return false
		}
		now := time.Now()
		idle, pause, since = 0, now.Sub(since) < idleTime, now
		return pause
	}
	e.beginServing()
	defer e.endServing()
	for {
		if err := e.rc.Read(f); err != nil {
			if e.wasNudged(err) {
				continue
			}
			return
		}
		if asked = false; pause {
			pause = false
			time.Sleep(idlePause)
			since = time.Now()
			continue
		}
		work()
	}
}

// Idle tells how many signals came for nothing while Serve waited.
func (e *Event) Idle() uint64 { return e.idle.Load() }

// Interrupt ends Wait and Serve, now and from now on.
func (e *Event) Interrupt() {
	e.interrupted.Store(true)
	_ = e.f.SetReadDeadline(longAgo)
}

// File gives the file, to be passed to another process.
func (e *Event) File() *os.File { return e.f }

// Close ends Wait and releases the descriptor.
func (e *Event) Close() error {
	e.retire() // first, so that Serve does not begin after the other
	e.endServing()
	return e.f.Close()
}
