package eventfd

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// guardTick is how often the guard looks at the bells that are being rung. One that is
// jammed holds up who rings it for twice as long at most, once.
const guardTick = 5 * time.Millisecond

// guard frees those who ring a bell that is jammed: it puts an eventfd of our own in
// the place of the descriptor, and interrupts the thread that waits. The kernel then
// begins the system call again (the handlers of Go's runtime ask for that), and that
// finds the other file, whatever is done to the one before.
var guard watchman

// watchman is the type of guard. Its goroutine runs while something is being rung.
type watchman struct {
	mu    sync.Mutex
	list  []*Bell // those that were rung since the last look
	runs  bool
	users int // bells that there are

	// What it takes to free somebody, there before it is needed: descriptors may
	// have run out by then. Open while there are users.
	spare int
	tasks *os.File // the threads of this process
}

// Prepare takes what the guard of the bells needs, for as long as the program runs. It is
// for programs that give up access to /proc before they have a bell.
func Prepare() error { return guard.use() }

// use counts a bell.
func (g *watchman) use() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == 0 {
		if err := g.prepare(); err != nil {
			return err
		}
	}
	g.users++
	return nil
}

// prepare needs mu.
func (g *watchman) prepare() (err error) {
	if g.spare, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if g.tasks, err = os.Open("/proc/self/task"); err != nil {
		_ = unix.Close(g.spare)
		return fmt.Errorf("eventfd: the threads of this process: %w", err)
	}
	return nil
}

// disuse takes a bell out of the count.
func (g *watchman) disuse() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users == 0 {
		_, _ = unix.Close(g.spare), g.tasks.Close()
	}
}

// watch has the guard look at a bell until it is not rung any more.
func (g *watchman) watch(b *Bell) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.watched.Load() {
		return
	}
	b.watched.Store(true)
	b.sawBegun, b.sawEnded = b.begun.Load(), b.ended.Load()
	g.list = append(g.list, b)
	if !g.runs {
		g.runs = true
		go g.run()
	}
}

func (g *watchman) run() {
	for more := true; more; more = g.look() {
		time.Sleep(guardTick)
	}
}

// look looks at each bell that is watched, and says whether there are any left.
func (g *watchman) look() (more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	kept := g.list[:0]
	for _, b := range g.list {
		if g.inspect(b) {
			kept = append(kept, b)
		}
	}
	clear(g.list[len(kept):])
	g.list = kept
	g.runs = len(kept) > 0
	return g.runs
}

// inspect needs mu. It says whether to go on with a bell.
func (g *watchman) inspect(b *Bell) bool {
	begun, ended := b.begun.Load(), b.ended.Load()
	switch {
	case begun != ended && b.sawBegun != b.sawEnded && ended == b.sawEnded:
		// No write has come back since the last look. Its thread may just not have run.
		if b.jammed.Load() || full(b.fd) {
			g.free(b)
		}
	case begun == ended && begun == b.sawBegun:
		b.watched.Store(false)
		if b.begun.Load() == begun {
			return false
		}
		b.watched.Store(true) // it is being rung just now
	}
	b.sawBegun, b.sawEnded = begun, ended
	return true
}

// full says that a write would block: no side that keeps to the rules lets it come to
// that, since the counter has 64 bits.
func full(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, err := unix.Poll(p, 0)
	return err == nil && p[0].Revents&unix.POLLOUT == 0 // POLLERR is a counter beyond that, by the kernel's own signals
}

// free needs mu. It is done again with the next look, if there is someone left then.
func (g *watchman) free(b *Bell) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if !b.jammed.Load() {
		if err := unix.Dup3(g.spare, b.fd, unix.O_CLOEXEC); err != nil {
			return
		}
		b.jammed.Store(true)
	}
	g.interrupt()
}

// interrupt needs mu. It interrupts the system calls of all threads, with the signal
// that Go's runtime uses for the like, and which any program must expect.
func (g *watchman) interrupt() {
	if _, err := g.tasks.Seek(0, 0); err != nil {
		return
	}
	names, _ := g.tasks.Readdirnames(-1)
	for _, name := range names {
		if tid, err := strconv.Atoi(name); err == nil {
			_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
		}
	}
}
