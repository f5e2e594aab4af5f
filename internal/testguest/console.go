package testguest

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// consoleTail is how much of the console's end is kept, to be shown when a boot fails.
const consoleTail = 4 << 10

// console takes what the guest's console shows, keeps the end, and passes it on.
type console struct {
	log io.Writer // may be nil

	mu     sync.Mutex
	tail   []byte
	dead   bool // the guest's kernel has shown that it panics
	halted bool // the guest's kernel has shown that it has nothing more to do
}

// panicText is how Linux begins the message that it panics.
const panicText = "Kernel panic - not syncing"

// haltText is the last that Linux shows where it cannot switch the machine off,
// as in User Mode Linux.
const haltText = "reboot: System halted"

// errPanic is the end of a guest whose kernel panicked.
var errPanic = errors.New("the guest's kernel panicked")

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.tail = append(c.tail, b...)
	c.dead = c.dead || bytes.Contains(c.tail, []byte(panicText))
	c.halted = c.halted || bytes.Contains(c.tail, []byte(haltText))
	if drop := len(c.tail) - consoleTail; drop > 0 {
		c.tail = append(c.tail[:0], c.tail[drop:]...)
	}
	c.mu.Unlock()
	if c.log != nil {
		// A log that fails is no reason to stop the guest, which would block on a full pipe.
		_, _ = c.log.Write(b)
	}
	return len(b), nil
}

// panicked gives errPanic if the guest's kernel panicked. QEMU does not tell
// that from a power off.
func (c *console) panicked() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errPanic
	}
	return nil
}

// hasHalted reports whether the guest's kernel has come to its orderly end.
func (c *console) hasHalted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halted && !c.dead
}

// end gives the last lines, indented, for use in an error.
func (c *console) end() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := bytes.TrimSpace(bytes.ReplaceAll(c.tail, []byte("\r"), nil))
	if len(text) == 0 {
		return "the console is empty"
	}
	return "the console's end:\n\t" + string(bytes.ReplaceAll(text, []byte("\n"), []byte("\n\t")))
}
