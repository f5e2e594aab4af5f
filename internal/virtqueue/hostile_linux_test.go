package virtqueue

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/guestmem"
)

// The other side changes everything, all the time, in the midst of what we do:
// whatever is read twice will not be the same.
func TestScribble(t *testing.T) {
	b := newBed(t, Config{Size: 16, EventIdx: true, Indirect: true})
	rings := b.bytes(t, memBase, dataAddr-memBase)
	p := b.peer(t)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for {
			select {
			case <-stop:
				return
			default:
				runtime.Gosched() // there may be one processor for both of us
			}
			for range 8 {
				binary.LittleEndian.PutUint16(rings[2*rnd.IntN(len(rings)/2):], scribble(rnd))
			}
			for range 16 { // else hardly any chain would be good
				plausible(rnd).write(p.desc, rnd.IntN(16))
			}
			if rnd.IntN(16) == 0 {
				p.availIdx = uint16(rnd.Uint32())
			}
			p.offer(uint16(rnd.IntN(17)))
		}
	})

	enough := 5_000 // of either outcome
	if testing.Short() {
		enough /= 10
	}
	deadline := time.Now().Add(30 * time.Second)
	var c Chain
	var good, broken, rounds int
	q := b.device(t)
	for good < enough || broken < enough || q.BadChains() == 0 {
		if rounds++; rounds%1024 == 0 && time.Now().After(deadline) {
			t.Errorf("%d good chains, %d broken rings: the test does not test", good, broken)
			break
		}
		if q.Publish(); q.EnableNotify() {
			q.DisableNotify()
		}
		ok, err := q.Pop(&c)
		if err != nil { // the session would end: here the next one begins
			broken++
			config := b.config
			config.Base = uint16(p.availHead.Load()>>16) - 8
			if q, err = NewDevice(b.mem, config); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if ok {
			good++
			checkChain(t, &c, 16)
			for _, s := range c.Readable {
				_ = s[len(s)-1]
			}
			q.Push(c.Head, 8)
		} else {
			runtime.Gosched()
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d rounds: %d good chains, %d broken rings, %d bad chains in the last", rounds, good, broken, q.BadChains())
}

// plausible gives a descriptor that may be part of a chain.
func plausible(rnd *rand.Rand) descriptor {
	d := descriptor{addr: memBase + uint64(rnd.IntN(memSize)), len: uint32(rnd.IntN(4096)), next: uint16(rnd.IntN(17))}
	switch rnd.IntN(4) {
	case 0:
		d.flags = flagNext
	case 1:
		d.flags = flagWrite
	case 2: // a table anywhere, also in the ring itself
		d.flags, d.len = flagIndirect, uint32(rnd.IntN(8))*descSize
	}
	return d
}

// scribble gives what may be a flag, an index, or part of an address.
func scribble(rnd *rand.Rand) uint16 {
	switch rnd.IntN(4) {
	case 0:
		return uint16(rnd.IntN(8))
	case 1:
		return uint16(memBase >> 16)
	case 2:
		return uint16(rnd.IntN(32) * descSize)
	}
	return uint16(rnd.Uint32())
}

// All that the two ends do survives the loss of the memory, under the guard.
func TestMemoryTakenAway(t *testing.T) {
	const size = 64 << 10
	fd, err := unix.MemfdCreate("virtqueue-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	mem, err := guestmem.Map([]guestmem.Region{{GuestAddr: memBase, UserAddr: memBase, Size: size}}, []int{fd})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Unmap() }()
	desc, avail, used, _ := Layout(8)
	b := &bed{mem: mem, config: Config{Size: 8, Desc: memBase + desc, Avail: memBase + avail, Used: memBase + used, EventIdx: true}}
	d, q := b.driver(t), b.device(t)
	if _, ok := d.Add([]Buffer{{memBase, 8}}, nil); !ok {
		t.Fatal("not added")
	}
	d.Publish()
	if err := unix.Ftruncate(fd, 0); err != nil {
		t.Fatal(err)
	}

	var c Chain
	for name, f := range map[string]func(){
		"HasAvail":            func() { q.HasAvail() },
		"Pop":                 func() { _, _ = q.Pop(&c) },
		"Push":                func() { q.Push(0, 0) },
		"Publish":             func() { q.filled++; q.Publish() },
		"EnableNotify":        func() { q.EnableNotify() },
		"Driver.Add":          func() { d.Add([]Buffer{{memBase, 8}}, nil) },
		"Driver.Publish":      func() { d.added++; d.Publish() },
		"Driver.Used":         func() { _, _, _, _ = d.Used() },
		"Driver.EnableNotify": func() { d.EnableNotify() },
	} {
		err := func() (err error) {
			defer mem.Catch(guestmem.Arm(), &err)
			f()
			return nil
		}()
		if !errors.Is(err, guestmem.ErrFault) {
			t.Errorf("%s: %v, want ErrFault", name, err)
		}
	}
	if _, err := NewDevice(mem, b.config); err != nil {
		t.Errorf("NewDevice: %v", err) // it touches nothing
	}
}
