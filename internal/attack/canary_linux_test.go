//go:build !race

package attack

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is not the attacker's must not change, and neither must what is next to what the
// switch may touch. The attacker's region begins and ends within a page, so that the switch
// has what is around it mapped too: canaries. They are read by the file, which the switch
// cannot tell from others.

// canarySize is how much of the file lies before the region, and behind it. It is no
// whole number of pages, and one of cache lines.
const canarySize = 4096 + 64

// canary gives the bytes of one, which differ from place to place.
func canary() []byte {
	b := make([]byte, canarySize)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + 0x5a)
	}
	return b
}

// layCanaries writes those of a file.
func layCanaries(file *os.File) error {
	if _, err := file.WriteAt(canary(), 0); err != nil {
		return err
	}
	_, err := file.WriteAt(canary(), canarySize+memSize)
	return err
}

// checkCanaries says what has changed around a region: nothing is known of a file that
// the attacker has cut.
func checkCanaries(file *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil || st.Size < fileSize {
		return err
	}
	want, got := canary(), make([]byte, canarySize)
	for _, at := range []int64{0, canarySize + memSize} {
		if _, err := file.ReadAt(got, at); err != nil {
			return err
		}
		if i := differ(got, want); i >= 0 {
			return fmt.Errorf("the byte at %d of the file, outside of the region, was written: %#x", at+int64(i), got[i])
		}
	}
	return nil
}

// bystander is an honest context that is sent nothing: none of its memory may change,
// but for its rings, where the switch leaves notes.
type bystander struct {
	*front
	before []byte
}

func (a *arena) newBystander() *bystander {
	a.t.Helper()
	b := &bystander{front: a.connect(honestSocket)}
	mem := b.quiet()
	for i := range mem {
		mem[i] = byte(i*13 + i>>8)
	}
	b.before = bytes.Clone(mem)
	return b
}

func (b *bystander) quiet() []byte { return b.bytes(txArea, memBase+memSize-txArea) }

// leave checks the memory, and ends the session.
func (b *bystander) leave() {
	b.t.Helper()
	if i := differ(b.quiet(), b.before); i >= 0 {
		b.t.Errorf("byte %d of the memory of a context that was sent nothing was written", i)
	}
	b.close()
}

// differ gives the first place where two slices do, -1 if there is none.
func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// TestCanaries: what is written outside is noticed.
func TestCanaries(t *testing.T) {
	for name, tc := range map[string]struct {
		at   int64
		want bool // it is noticed
	}{
		"the region's first byte": {canarySize, false},
		"the region's last byte":  {canarySize + memSize - 1, false},
		"the byte before":         {canarySize - 1, true},
		"the byte behind":         {canarySize + memSize, true},
		"the file's first":        {0, true},
		"the file's last":         {fileSize - 1, true},
	} {
		fd, err := unix.MemfdCreate("canaries", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "memfd:canaries")
		if err := file.Truncate(fileSize); err != nil {
			t.Fatal(err)
		}
		if err := layCanaries(file); err != nil {
			t.Fatal(err)
		}
		if err := checkCanaries(file); err != nil {
			t.Errorf("as they were laid: %v", err)
		}
		if _, err := file.WriteAt([]byte{0xff}, tc.at); err != nil {
			t.Fatal(err)
		}
		if err := checkCanaries(file); (err != nil) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
		_ = file.Close()
	}
}

// atTheEdges has its receive buffers, and what it sends, lie across both ends of its
// memory, by a byte up to a page, while it has others answer.
func atTheEdges(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	f.lazy = true
	over := func(i int) (addr uint64, n uint32) {
		by := []uint64{1, 2, 8, 44, 63, 64, 512, 4096}[i/2%8]
		if i%2 == 0 {
			return memBase + memSize - 20, uint32(64 + by) // a header does not fit before the end
		}
		return memBase - by, uint32(by + 128) // begins before
	}
	for i := range ringSize {
		addr, n := over(i)
		f.rawDescriptor(rxQueue, i, addr, n, write, 0)
	}
	for i := range 16 {
		addr, n := over(i)
		f.rawDescriptor(txQueue, i, addr, n, 0, 0)
	}
	// Half of what it sends is sane, and has an answer that goes into one of those buffers.
	h := f.to(77, 1, 1, 1)
	copy(f.bytes(txArea, 64), h.Append(nil))
	for i := 16; i < ringSize; i++ {
		f.rawDescriptor(txQueue, i, txArea, 44, 0, 0)
	}
	avail, used := f.bytes(f.queue(txQueue).Avail, 4+2*ringSize), f.bytes(f.queue(txQueue).Used, 4)
	for i := range ringSize {
		avail[4+2*i], avail[5+2*i] = byte(i), 0
	}
	rx := f.bytes(f.queue(rxQueue).Avail, 4+2*ringSize)
	for i := range ringSize {
		rx[4+2*i], rx[5+2*i] = byte(i), 0
	}
	rxUsed := f.bytes(f.queue(rxQueue).Used, 4)
	index := func(b []byte) uint16 { return uint16(b[2]) | uint16(b[3])<<8 }
	for on() {
		f.setAvail(rxQueue, index(rxUsed)+ringSize)
		f.setAvail(txQueue, index(used)+ringSize)
		f.must(f.kick[rxQueue].Signal())
		f.must(f.kick[txQueue].Signal())
		<-time.After(time.Millisecond)
	}
}
