package testguest

import (
	"bytes"
	"io"
	"sync"
)

// consoleTail is how much of the console's end is kept, to be shown when a boot fails.
const consoleTail = 4 << 10

// console takes what the guest's console shows, keeps the end, and passes it on.
type console struct {
	log io.Writer // may be nil

	mu   sync.Mutex
	tail []byte
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.tail = append(c.tail, b...)
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

// end gives the last lines, indented, for use in an error.
func (c *console) end() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(bytes.TrimSpace(c.tail)) == 0 {
		return "the console is empty"
	}
	return "the console's end:\n\t" + string(bytes.ReplaceAll(bytes.TrimSpace(c.tail), []byte("\n"), []byte("\n\t")))
}
