package vsock

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernelMessages sends the messages of a seqpacket socket, whole.
//
// Linux cannot do that on a socket that does not block (seen with 6.1): it queues
// as much of a message as the peer has room for, forgets that, and says EAGAIN. The
// next try sends the message from its beginning, and the peer gets one message that
// begins twice. A signal that restarts the call would do the same. So the call that
// sends blocks, in a thread that takes no signals. All others have MSG_DONTWAIT.
type kernelMessages struct {
	one sync.Mutex // one message at a time: the kernel mixes up two that wait

	mu       sync.Mutex
	blocking bool  // the descriptor's O_NONBLOCK is off
	sending  bool  // a call that blocks is under way
	cut      error // why the message under way, or the last one, was cut
	closed   bool
	deadline time.Time
	timer    *time.Timer
}

func (m *kernelMessages) send(s *kernelSocket, p []byte, flags Flags) (n int, err error) {
	if len(p) == 0 {
		return 0, ErrNotSupported // the kernel would say yes, and send nothing
	}
	if s.nonblock.Load() || flags&MsgDontWait != 0 {
		if !m.one.TryLock() {
			return 0, unix.EAGAIN
		}
	} else {
		m.one.Lock()
	}
	defer m.one.Unlock()
	err = s.wait(syscall.RawConn.Write, flags, func(fd int) error {
		// A deadline that passes here does no harm.
		if pollNow(fd, PollOut)&(PollOut|PollErr|PollHup) == 0 {
			if err := sendNothing(fd); err != nil {
				return err
			}
			return unix.EAGAIN
		}
		if err := m.begin(s, fd); err != nil {
			return err
		}
		var err error
		n, err = sendUninterrupted(fd, p, int(flags&MsgEOR))
		return m.end(err)
	})
	switch {
	case errors.Is(err, unix.ENOMEM): // what 6.1 says to a message over the peer's buffer
		return 0, syscall.EMSGSIZE
	case err != nil:
		return 0, s.sendError(err)
	}
	return n, nil
}

// sendNothing has the errors of sending, and no other effect: poll does not tell
// that a direction was shut down.
func sendNothing(fd int) error {
	_, err := unix.SendmsgN(fd, nil, nil, nil, kernelFlags)
	return err
}

func sendUninterrupted(fd int, p []byte, flags int) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return 0, err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	return unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL|flags)
}

// begin is called before the call that blocks.
func (m *kernelMessages) begin(s *kernelSocket, fd int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	if !m.blocking {
		if err := unix.SetNonblock(fd, false); err != nil {
			return err
		}
		m.blocking = true
	}
	m.sending, m.cut = true, nil
	m.arm(s)
	return nil
}

// end makes the error of the call that blocked: its own, or why it was cut.
func (m *kernelMessages) end(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sending = false
	m.disarm()
	if err != nil && m.cut != nil {
		return m.cut
	}
	return err
}

// arm needs mu. It sets the timer for the deadline of a message under way. A socket
// that does not wait has no deadlines, but a message that was begun must end.
func (m *kernelMessages) arm(s *kernelSocket) {
	m.disarm()
	if m.sending && !m.deadline.IsZero() {
		deadline := m.deadline
		m.timer = time.AfterFunc(time.Until(deadline), func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.deadline.Equal(deadline) {
				m.cutOff(s, os.ErrDeadlineExceeded)
			}
		})
	}
}

// disarm needs mu.
func (m *kernelMessages) disarm() {
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
}

// cutOff needs mu. Half a message cannot be taken back, so it ends the connection.
func (m *kernelMessages) cutOff(s *kernelSocket, why error) {
	if m.sending && m.cut == nil {
		m.cut = why
		_ = s.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })
	}
}

func (m *kernelMessages) setDeadline(s *kernelSocket, t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deadline = t
	m.arm(s)
}

// close ends a message that is under way: closing the descriptor would wait for it.
func (m *kernelMessages) close(s *kernelSocket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.cutOff(s, net.ErrClosed)
}
