package virtqueue

import (
	"encoding/binary"
	"fmt"
	"testing"

	"vsockets.dev/internal/guestmem"
)

const benchSize = 256

// BenchmarkDevice is the device's end alone, for each chain: the driver's ring is
// filled once, and only its index goes on.
func BenchmarkDevice(b *testing.B) {
	for _, eventIdx := range []bool{true, false} {
		for _, descriptors := range []int{1, 2} {
			for _, batch := range []int{1, 32} {
				b.Run(fmt.Sprintf("EVENT_IDX=%v/descriptors=%d/batch=%d", eventIdx, descriptors, batch), func(b *testing.B) {
					benchDevice(b, eventIdx, descriptors, batch)
				})
			}
		}
	}
}

func benchDevice(b *testing.B, eventIdx bool, descriptors, batch int) {
	bed := newBed(b, Config{Size: benchSize, EventIdx: eventIdx})
	p, q := bed.peer(b), bed.device(b)
	for i := range benchSize {
		d := descriptor{addr: dataAddr + uint64(2048*i), len: 2048}
		if i%descriptors < descriptors-1 {
			d.flags, d.next = flagNext, uint16(i+1)
		}
		d.write(p.desc, i)
		binary.LittleEndian.PutUint16(p.avail[4+2*i:], uint16(i*descriptors%benchSize))
	}
	var c Chain
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		p.availIdx += uint16(batch)
		p.availHead.Store(uint32(p.availIdx) << 16)
		for range batch {
			if ok, err := q.Pop(&c); !ok || err != nil {
				b.Fatal(ok, err)
			}
			q.Push(c.Head, 0)
		}
		q.Publish()
	}
}

// BenchmarkDriver is the driver's end, and writing the used elements.
func BenchmarkDriver(b *testing.B) {
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			bed := newBed(b, Config{Size: benchSize, EventIdx: true})
			p, q := bed.peer(b), bed.driver(b)
			buffer := []Buffer{{dataAddr, 2048}}
			heads := make([]uint16, batch)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				for i := range heads {
					heads[i], _ = q.Add(buffer, nil)
				}
				q.Publish()
				for i, h := range heads {
					e := p.used[4+8*int((p.usedIdx+uint16(i))%benchSize):]
					binary.LittleEndian.PutUint32(e, uint32(h))
				}
				p.usedIdx += uint16(batch)
				p.usedHead.Store(uint32(p.usedIdx) << 16)
				for range heads {
					if _, _, ok, err := q.Used(); !ok || err != nil {
						b.Fatal(ok, err)
					}
				}
			}
		})
	}
}

// BenchmarkBatch is what the device does for a batch of chains when it is woken:
// the guard, the ring, and the request for the next kick.
func BenchmarkBatch(b *testing.B) {
	const batch = 32
	bed := newBed(b, Config{Size: benchSize, EventIdx: true})
	p, q := bed.peer(b), bed.device(b)
	for i := range benchSize {
		descriptor{addr: dataAddr, len: 2048}.write(p.desc, i)
		binary.LittleEndian.PutUint16(p.avail[4+2*i:], uint16(i))
	}
	var c Chain
	wake := func() (err error) {
		defer bed.mem.Catch(guestmem.Arm(), &err)
		q.DisableNotify()
		for {
			ok, err := q.Pop(&c)
			if !ok {
				q.Publish()
				q.EnableNotify()
				return err
			}
			q.Push(c.Head, 0)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		p.availIdx += batch
		p.availHead.Store(uint32(p.availIdx) << 16)
		if err := wake(); err != nil {
			b.Fatal(err)
		}
	}
}
