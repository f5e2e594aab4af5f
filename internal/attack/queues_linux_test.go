//go:build !race

package attack

import (
	"encoding/binary"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"vsockets.dev/internal/packet"
	"vsockets.dev/internal/virtqueue"
	"vsockets.dev/vsock"
	"vsockets.dev/vswitch"
)

var queueAttacks = []attack{
	{
		name:   "RX ring never refilled",
		broken: func(c vswitch.Counters) uint64 { return c.Unreachable },
		run: func(a *arena, on func() bool) {
			f := a.connect(guestSocket)
			defer f.close()
			f.lazy = true
			for n := uint32(0); on(); n++ { // each asks for an answer
				f.send(f.to(77, packet.OpRequest, n, 1), on)
			}
		},
	},
	{
		name:   "event ring misused",
		broken: func(c vswitch.Counters) uint64 { return c.IdleKicks },
		run:    misuseEvents,
	},
	{
		name:   "indices that jump",
		broken: func(c vswitch.Counters) uint64 { return c.BadRings },
		run: breaking(func(f *front, n int) {
			f.setAvail(txQueue, []uint16{ringSize + 1, 1 << 15, math.MaxUint16}[n%3])
			f.must(f.kick[txQueue].Signal())
		}),
	},
	{
		name:   "RX index that jumps",
		broken: func(c vswitch.Counters) uint64 { return c.BadRings },
		run: breaking(func(f *front, _ int) {
			f.setAvail(rxQueue, 2*ringSize+1)
			f.send(f.to(vsock.CIDHost, packet.OpRequest, 1, nobodyPort), forever)
		}),
	},
	{
		name:   "chains against the rules",
		broken: func(c vswitch.Counters) uint64 { return c.BadChains },
		run:    badChains,
	},
	{
		name: "buffers across the ends of memory",
		broken: func(c vswitch.Counters) uint64 {
			if c.Forged+c.Invalid+c.Malformed > 0 { // a packet was read from there
				return 0
			}
			return c.BadChains
		},
		run: atTheEdges,
	},
	{
		name:   "no end of packets",
		broken: func(c vswitch.Counters) uint64 { return c.Malformed },
		run:    endless,
	},
	{
		name:   "kick storm",
		broken: func(c vswitch.Counters) uint64 { return c.IdleKicks },
		run: func(a *arena, on func() bool) {
			f := a.connect(guestSocket)
			defer f.close()
			for n := 0; on(); n++ {
				f.must(f.kick[n%numQueues].Signal())
			}
		},
	},
	{
		name:   "memory truncated under the device",
		broken: func(c vswitch.Counters) uint64 { return c.Faults },
		run: breaking(func(f *front, n int) {
			f.send(f.to(vsock.CIDHost, packet.OpRequest, 1, sourcePort), forever)
			f.must(f.file.Truncate([]int64{0, 4096, txArea - memBase, rxArea - memBase}[n%4]))
			f.must(f.kick[txQueue].Signal())
		}),
	},
	{
		name:   "doorbells that block",
		broken: func(c vswitch.Counters) uint64 { return c.Jams },
		run: breaking(func(f *front, _ int) {
			for i := range 2 {
				fd := int(f.call[i].File().Fd())
				_, _ = unix.Write(fd, binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1))
				f.must(unix.SetNonblock(fd, false))
				f.queues[i].EnableNotify()
			}
			f.send(f.to(77, packet.OpRequest, 1, 1), forever)
		}),
	},
}

// breaking makes an attack that breaks a session, which the switch must end, and makes
// another one.
func breaking(do func(f *front, n int)) func(*arena, func() bool) {
	return func(a *arena, on func() bool) {
		for n := 0; n == 0 || on(); n++ {
			f := a.connect(guestSocket)
			do(f, n)
			f.ended()
			f.close()
		}
	}
}

// setAvail sets the index of an available ring.
func (f *front) setAvail(queue int, idx uint16) {
	binary.LittleEndian.PutUint16(f.bytes(f.queue(queue).Avail, 4)[2:], idx)
}

// rest lets time pass in which nothing is done.
func (f *front) rest() { <-time.After(time.Millisecond) }

// misuseEvents fills the event ring with buffers that no event fits in, sends on it, and
// kicks, all at the full speed.
func misuseEvents(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	q := f.queues[eventQueue]
	for i := range uint64(ringSize) {
		b := []virtqueue.Buffer{{Addr: rxArea + i, Len: uint32(i % 4)}}
		if i%2 == 0 {
			q.Add(b, nil)
		} else {
			q.Add(nil, b)
		}
	}
	q.Publish()
	for on() {
		f.must(f.kick[eventQueue].Signal())
	}
}

// Flags of a descriptor, virtio 1.3 section 2.7.5.
const (
	next     = 1
	write    = 2
	indirect = 4
)

// rawDescriptor writes a descriptor into a queue's table.
func (f *front) rawDescriptor(queue, i int, addr uint64, n uint32, flags, to uint16) {
	d := f.bytes(f.queue(queue).Desc, 16*ringSize)[16*i:][:16]
	binary.LittleEndian.PutUint64(d, addr)
	binary.LittleEndian.PutUint32(d[8:], n)
	binary.LittleEndian.PutUint16(d[12:], flags)
	binary.LittleEndian.PutUint16(d[14:], to)
}

// badChains has both rings be full of chains that break rules: loops, addresses outside,
// write-only where read-only is due, tables in tables.
func badChains(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	for _, queue := range []int{rxQueue, txQueue} {
		for i := range ringSize {
			to := uint16((i + 1) % ringSize)
			switch i % 8 {
			case 0: // all of the ring, around and around
				f.rawDescriptor(queue, i, dataArea, 1, next, to)
			case 1:
				f.rawDescriptor(queue, i, 0, math.MaxUint32, next, to)
			case 2:
				f.rawDescriptor(queue, i, math.MaxUint64-10, 100, 0, 0)
			case 3:
				f.rawDescriptor(queue, i, memBase+memSize-1, 2, write, 0)
			case 4:
				f.rawDescriptor(queue, i, dataArea, 16, indirect|next, to)
			case 5: // a table that refers to itself
				f.rawDescriptor(queue, i, f.queue(queue).Desc, 16*ringSize, indirect, 0)
			case 6:
				f.rawDescriptor(queue, i, dataArea, 15, indirect, 0)
			case 7:
				f.rawDescriptor(queue, i, dataArea, packet.HeaderSize, write|next, math.MaxUint16)
			}
			binary.LittleEndian.PutUint16(f.bytes(f.queue(queue).Avail, 4+2*ringSize)[4+2*i:], uint16(i*8%ringSize+i/32))
		}
	}
	// As fast as the device takes them, and no further than it may.
	for on() {
		for _, queue := range []int{rxQueue, txQueue} {
			used := binary.LittleEndian.Uint16(f.bytes(f.queue(queue).Used, 4)[2:])
			f.setAvail(queue, used+ringSize)
			f.must(f.kick[queue].Signal())
		}
	}
}

// endless has the TX ring be full all the time: to make a packet available anew takes
// the attacker less time than it takes the device to look at it.
func endless(a *arena, on func() bool) {
	f := a.connect(guestSocket)
	defer f.close()
	h := f.to(vsock.CIDHost, packet.OpRW, 1, 1)
	h.Len = 1 // and no byte follows
	copy(f.bytes(txArea, packet.HeaderSize), h.Append(nil))
	for i := range ringSize {
		f.rawDescriptor(txQueue, i, txArea, packet.HeaderSize, 0, 0)
		binary.LittleEndian.PutUint16(f.bytes(f.queue(txQueue).Avail, 4+2*ringSize)[4+2*i:], uint16(i))
	}
	used := f.bytes(f.queue(txQueue).Used, 4)
	for on() {
		f.setAvail(txQueue, binary.LittleEndian.Uint16(used[2:])+ringSize)
		if binary.LittleEndian.Uint16(used[2:])%64 == 0 {
			f.must(f.kick[txQueue].Signal())
		}
	}
}
