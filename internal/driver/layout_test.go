package driver

import (
	"testing"

	"vsockets.dev/internal/packet"
)

// Buffers lie in the memory, share no line with each other, and their payloads begin with one.
func TestLayoutBuffers(t *testing.T) {
	l := newLayout()
	for name, address := range map[string]func(int) uint64{"rx": l.rxBuffer, "tx": l.txBuffer} {
		for i := range queueSize {
			at := address(i)
			if (at+packet.HeaderSize)%line != 0 {
				t.Errorf("%s %d: the payload begins at %#x", name, i, at+packet.HeaderSize)
			}
			if at < l.rx || at+bufferSize > memoryBase+l.size {
				t.Errorf("%s %d: %#x is among the rings, or beyond the memory", name, i, at)
			}
			if next := address(i + 1); i+1 < queueSize && (at+bufferSize-1)/line >= next/line {
				t.Errorf("%s %d: it shares a line with the next: %#x, %#x", name, i, at, next)
			}
		}
	}
	if last := l.rxBuffer(queueSize-1) + bufferSize; last > l.txBuffer(0) {
		t.Errorf("the last of rx ends at %#x, and tx begins at %#x", last, l.txBuffer(0))
	}
}
